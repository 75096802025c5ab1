# SPDX-License-Identifier: Apache-2.0
"""Hosts that lack what everybody has: each command ends, or works with less, and says why in lines of its own."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.tracer import COMMAND

TIMEOUT_S = 60
STARTED = re.compile(r"^oomtrace: tracing at level (\w+)", re.MULTILINE)
COMMANDS = ("trace", "doctor", "logs", "schema", "demo")
OF_THE_LOADER = re.compile(r"\S+: error while loading shared libraries: .*")
"""Without a file descriptor for its libraries, Python does not start."""

FAILURES = {1, 2, 77}
NOT_LOADED = 127


@dataclass(frozen=True)
class Host:
    """What is wrong with a host.

    Attributes:
        wrapper: Runs the command that follows it on such a host.
        log_only: Whether no level above `log` can be reached; None: that depends.
        works: Commands that must succeed there.
    """

    wrapper: Sequence[str]
    log_only: bool | None = False
    works: Sequence[str] = COMMANDS


def shell(script: str) -> list[str]:
    return ["sh", "-c", f'{script}; exec "$0" "$@"']


def mounts(script: str) -> list[str]:
    return ["unshare", "--mount", *shell(f"set -e; {script}")]


def limited(*options: str) -> list[str]:
    return ["prlimit", *options]


AS_FIFO = "f=$(mktemp -u -p /run); mkfifo $f; for x in {}; do mount --bind $f /etc/$x; done; rm $f"
HUGE = "f=$(mktemp -p /run); truncate -s 3G $f; for x in passwd services; do mount --bind $f /etc/$x; done; rm $f"
READ_ONLY = "for x in / /tmp /run /var/tmp /dev/shm; do mount --bind $x $x; mount -o remount,bind,ro $x; done"
FULL = (
    "for x in /run /var/tmp; do mount -t tmpfs -o size=4k,mode=755 full $x; dd if=/dev/zero of=$x/x bs=4k count=1; done"
)

HOSTS = {
    "no /proc": Host(mounts("umount -l /proc"), log_only=True, works=("trace", "doctor", "logs", "schema")),
    "empty /proc": Host(mounts("mount -t tmpfs t /proc"), log_only=True, works=("trace", "doctor", "logs", "schema")),
    "no /sys": Host(mounts("umount -l /sys"), log_only=True, works=("trace", "doctor", "logs", "schema")),
    "no /dev": Host(mounts("mount -t tmpfs t /dev"), works=("trace", "doctor", "schema", "demo")),
    "no directory": Host(shell("d=$(mktemp -d); cd $d; rmdir $d")),
    "no environment": Host(["env", "-i"]),
    "no HOME": Host(["env", "-u", "HOME"]),
    "unknown locale": Host(["env", "LANG=xx_YY.none", "LC_ALL=none"]),
    "locale C": Host(["env", "LANG=C", "LC_ALL=C"]),
    "time zone without end": Host(["env", "TZ=AAAA99999999999BBBB"]),
    "time zone 24 h away": Host(["env", "TZ=AAA24"]),
    "time zone is a path": Host(["env", "TZ=/etc/passwd"]),
    "umask 0": Host(shell("umask 0")),
    "umask 0777": Host(shell("umask 0777")),
    "FIFOs in /etc": Host(mounts(AS_FIFO.format("passwd group services nsswitch.conf"))),
    "FIFOs in /etc, no HOME": Host(mounts(f"{AS_FIFO.format('passwd group services nsswitch.conf')}; unset HOME")),
    "huge files in /etc": Host(mounts(HUGE)),
    "no file may be written": Host(limited("--fsize=0"), log_only=True),
    "one process": Host(limited("--nproc=1")),
    "address space 16 MiB": Host(limited(f"--as={16 << 20}"), works=()),
    "address space 24 MiB": Host(limited(f"--as={24 << 20}"), works=("schema",)),
    "address space 100 MiB": Host(
        limited(f"--as={100 << 20}"), log_only=True, works=("trace", "doctor", "logs", "schema")
    ),
    "read-only file systems": Host(mounts(READ_ONLY), log_only=True),
    "full /run and /var/tmp": Host(mounts(f"{FULL} 2>/dev/null")),
    "TMPDIR of another user": Host(["env", "TMPDIR=/nowhere"]),
    "without stdin": Host(shell("exec 0<&-")),
    "without stdout": Host(shell("exec 1<&-"), works=()),
    "without stderr": Host(shell("exec 2<&-")),
    "without stdin and stdout": Host(shell("exec 0<&- 1<&-"), works=()),
    "without stdin and stderr": Host(shell("exec 0<&- 2<&-")),
    "without stdout and stderr": Host(shell("exec 1<&- 2<&-"), works=()),
    "without any": Host(shell("exec 0<&- 1<&- 2<&-"), works=()),
    **{
        f"{count} descriptors": Host(
            limited(f"--nofile={count}:{count}"),
            log_only=True if count < 10 else None,  # a process for the compiler and level minimal need few
            works=()
            if count < 6
            else ("doctor", "logs", "schema")
            if count < 9
            else ("trace", "doctor", "logs", "schema"),
        )
        for count in range(3, 13)
    },
}


@dataclass(frozen=True)
class Done:
    code: int
    stdout: bytes
    stderr: str


def run(wrapper: Sequence[str], folder: Path, *arguments: str) -> Done:
    """Run a command to its end; tracing ends with SIGTERM, once it has begun."""
    out, messages = folder / "out", folder / "messages"
    with out.open("wb") as stdout, messages.open("wb") as stderr:
        writers = [subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=file) for file in (stdout, stderr)]
    # Pipes: a limit on the size of files would hide what is said.
    process = subprocess.Popen(
        [*wrapper, COMMAND, *arguments], stdin=subprocess.DEVNULL, stdout=writers[0].stdin, stderr=writers[1].stdin
    )
    try:
        for writer in writers:
            assert writer.stdin
            writer.stdin.close()
        deadline = time.monotonic() + TIMEOUT_S
        while process.poll() is None:
            assert time.monotonic() < deadline, f"still runs: {messages.read_text()}"
            if arguments == ("trace",) and (STARTED.search(messages.read_text()) or _is_attached(process.pid)):
                time.sleep(0.5)
                process.send_signal(signal.SIGTERM)
                process.wait(TIMEOUT_S)
            time.sleep(0.02)
    finally:
        process.kill()
        for writer in writers:
            writer.wait(TIMEOUT_S)
    return Done(process.returncode, out.read_bytes(), messages.read_text())


def _is_attached(pid: int) -> bool:
    """Say whether it waits for signals, where nothing can be said."""
    found = re.search(r"^SigCgt:\s*([0-9a-f]+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return found is not None and bool(int(found[1], 16) >> (signal.SIGTERM - 1) & 1)


@pytest.fixture(autouse=True)
def without_cache(monkeypatch):
    """Compile at each start: programs that are compiled already are loaded on most of these hosts."""
    monkeypatch.setenv("CACHE_DIRECTORY", "/nonexistent")


@pytest.mark.parametrize("name", HOSTS)
def test_each_command_works_or_says_why_not(tmp_path, name):
    def folder(command: str) -> Path:
        (tmp_path / command).mkdir()
        return tmp_path / command

    with ThreadPoolExecutor() as pool:
        runs = {command: pool.submit(run, HOSTS[name].wrapper, folder(command), command) for command in COMMANDS}
    for command, done in runs.items():
        check(name, command, done.result())


def check(name: str, command: str, done: Done) -> None:
    host = HOSTS[name]
    lines = done.stderr.splitlines()
    assert all(line.startswith("oomtrace: ") or OF_THE_LOADER.fullmatch(line) for line in lines), done.stderr
    assert len(set(lines)) == len(lines)
    if command in host.works:
        assert done.code == 0, (command, done.stderr)
    elif not (done.code == 0 and host.log_only is None):
        assert done.code in FAILURES or (OF_THE_LOADER.match(done.stderr) and done.code == NOT_LOADED), (command, done)
        assert lines or "stderr" in name or name == "without any"
    if command in ("trace", "demo") and (reached := STARTED.search(done.stderr)):
        assert host.log_only in (None, reached[1] == "log")
    if command in ("doctor", "schema") and done.code == 0:
        assert done.stdout
