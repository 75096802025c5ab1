# SPDX-License-Identifier: Apache-2.0
"""The Debian package: a line in the journal and in a file, reload, SIGKILL, watchdog, upgrade, and no kill is missed.

Purged while the service runs, the package leaves nothing behind.
"""

import json
import os
import signal
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from _scenario import scenario
from _units import GROW, LIMIT, Properties, ended, show, start, stop, written
from support.tracer import Line, parsed

(PACKAGE,) = Path("/payload").glob("oomtrace_*.deb")
SERVICE = "oomtrace.service"
CONFIG = Path("/etc/oomtrace.toml")
COMMAND = b"/usr/bin/python3\0-IS\0/usr/bin/oomtrace\0"
DROP_IN = Path("/run/systemd/system/oomtrace.service.d/scenario.conf")
FIRST = "[Service]\nTimeoutStartSec=infinity\nWatchdogSec=20s\nGroup=adm\n"
"""A shorter period of the watchdog, time for an emulated CPU to start, and a group that may read the lines."""
LOG, ROTATED = Path("/var/log/oomtrace/oomtrace.log"), Path("/var/log/oomtrace/oomtrace.log.1")
FILE = f'output = "{LOG}"\n'
TIMEOUT_S = 120
SYSTEM = "find /etc /usr /var -xdev -not -path /var/lib/dpkg/* -not -path /var/log/dpkg.log"
"""Lists the files of the system but for dpkg's own records."""
VOLATILE = "find /dev /run /tmp /sys/fs/cgroup -name *oomtrace*"
"""Lists what a running service has: directories of its own, a cgroup."""
UNITS = ("systemctl list-unit-files --no-legend", "systemctl list-units --all --plain --no-legend")
CACHE = Path("/var/cache/oomtrace")
OWN_DIRECTORIES = [Path(f"/var/{name}/oomtrace") for name in ("lib", "cache", "log")]


def wait(fact: Callable[[], object]) -> bool:
    """Wait for a fact, up to a timeout, and return whether it is so."""
    deadline = time.monotonic() + TIMEOUT_S
    while not fact():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def journal() -> list[str]:
    """Return what the service has written to the journal: lines and messages."""
    command = ["journalctl", "--unit", SERVICE, "--output=cat", "--no-pager", "--quiet"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


def in_journal(pid: int) -> list[Line]:
    return of(pid, [json.loads(text) for text in journal() if text.startswith("{")])


def in_files(pid: int) -> list[Line]:
    return of(pid, [line for file in (LOG, ROTATED) if file.exists() for line in parsed(file.read_bytes())])


def of(pid: int, lines: list[Line]) -> list[Line]:
    return [line for line in lines if line["event"] == "oom_kill" and line["process"]["pid"] == pid]


def kill(name: str) -> int:
    """Let a service exceed its limit, and return the pid of its process."""
    unit = f"oomtrace-{name}.service"
    start(unit, GROW, *LIMIT)
    pid = int(ended(unit)["ExecMainPID"])
    stop(unit)
    return pid


def output(command: str) -> list[str]:
    return subprocess.run(command.split(), check=True, capture_output=True, text=True).stdout.splitlines()


def dpkg(*arguments: str) -> None:
    began = time.monotonic()
    subprocess.run(["dpkg", "--force-unsafe-io", *arguments], check=True, stdin=subprocess.DEVNULL)
    print(f"dpkg {arguments[0]} took {time.monotonic() - began:.1f} s", flush=True)


def system_state() -> set[str]:
    """Return all that a package or a service may leave behind: files, units, users and groups."""
    units = {f"unit {line.split()[0]}" for command in UNITS for line in output(command) if "oomtrace" in line}
    users = {line for name in ("passwd", "group") for line in Path("/etc", name).read_text().splitlines()}
    return {*output(SYSTEM), *output(VOLATILE), *units, *users}


def cached_programs() -> dict[str, int]:
    """Return when each compiled program was written, ns: those of the standing tracers are there from the beginning."""
    return {path.name: path.stat().st_mtime_ns for path in CACHE.iterdir()}


def control(*arguments: str) -> None:
    subprocess.run(["systemctl", *arguments, SERVICE], check=True)


def status() -> Properties:
    return show(SERVICE)


def is_running_again(pid: str) -> bool:
    """Say whether another process is the service's now, and is ready."""
    found = status()
    return found["ActiveState"] == "active" and found["MainPID"] not in ("0", pid)


def send(number: signal.Signals) -> str:
    """Send the service's process a signal, and return its pid."""
    pid = status()["MainPID"]
    os.kill(int(pid), number)
    return pid


with scenario() as run, written(DROP_IN, FIRST):
    before_install = system_state()
    dpkg("--install", str(PACKAGE))
    installed = status()
    run.equal(
        "installed, not started", (installed["ActiveState"], installed["UnitFileState"]), ("inactive", "disabled")
    )
    began = time.monotonic()
    control("enable", "--now")  # returns when it is ready
    print(f"ready after {time.monotonic() - began:.1f} s", flush=True)
    first, programs = status(), cached_programs()
    run.equal(
        "state", (first["ActiveState"], first["SubState"], first["UnitFileState"]), ("active", "running", "enabled")
    )
    run.equal("status", first["StatusText"], "level full; 0 kills reported, 0 lost")
    run.equal("the package's command", Path(f"/proc/{first['MainPID']}/cmdline").read_bytes(), COMMAND)
    run.equal("never killed", Path(f"/proc/{first['MainPID']}/oom_score_adj").read_text(), "-1000\n")

    # stdout is the journal
    journaled = kill("journaled")
    run.true("its line is in the journal", wait(lambda: in_journal(journaled)))
    counted = "level full; 1 kill reported, 0 lost"
    run.true("it is in the status", wait(lambda: status()["StatusText"] == counted))
    print("messages:", [text for text in journal() if text.startswith("oomtrace:")], flush=True)

    # a reload names what takes a restart, and applies the rest
    CONFIG.write_text(f'{FILE}service = ["7000=redis"]\n')
    control("reload")
    for said in ("changed: service", "restart oomtrace for the changes of: output"):
        run.true(f"said: {said}", wait(lambda: any(text.endswith(said) for text in journal())))  # noqa: B023
    run.equal("the same process", status()["MainPID"], first["MainPID"])
    CONFIG.write_text("levle = 1\n")
    control("reload")
    said = "did you mean level?; the options that were read before stay in effect"
    run.true("a mistake changes nothing", wait(lambda: any(text.endswith(said) for text in journal())))
    run.equal("after all reloads", status()["ActiveState"], "active")

    # SIGKILL: kills before it runs again are reported by the next one, which writes to a file
    CONFIG.write_text(FILE)
    before = send(signal.SIGKILL)
    run.true("it is gone", wait(lambda: status()["MainPID"] != before))
    unwatched = kill("unwatched")
    run.true("it is restarted", wait(lambda: is_running_again(before)))
    run.equal("its level", status()["StatusText"].split(";")[0], "level full")
    run.true("the kill in between is in the file", wait(lambda: in_files(unwatched)))
    run.equal("who may read the file", (stat.filemode(LOG.stat().st_mode), LOG.group()), ("-rw-r-----", "adm"))

    # what is written before the file is reopened is in the renamed one
    LOG.rename(ROTATED)
    filed = kill("filed")
    run.true("its line is in the renamed file", wait(lambda: in_files(filed)))
    subprocess.run(["systemctl", "kill", "--kill-who=main", "--signal=HUP", SERVICE], check=True)
    run.true("the file is reopened", wait(LOG.exists))

    # the watchdog: a process that hangs is killed, and restarted
    before = send(signal.SIGSTOP)
    hung = kill("hung")
    run.true("the watchdog acts", wait(lambda: is_running_again(before)))
    run.true("the kill meanwhile is in the file", wait(lambda: in_files(hung)))
    run.equal("restarts", status()["NRestarts"], "2")

    # an upgrade keeps the configuration and restarts the service
    before = status()["MainPID"]
    dpkg("--install", str(PACKAGE))
    run.true("it is restarted after an upgrade", wait(lambda: is_running_again(before)))
    run.equal("the configuration is kept", CONFIG.read_text(), FILE)
    upgraded = kill("upgraded")
    run.true("its line is in the file", wait(lambda: in_files(upgraded)))

    time.sleep(2)  # for lines that should not come
    pids = (journaled, unwatched, filed, hung, upgraded)
    run.equal("lines in the journal", [len(in_journal(pid)) for pid in pids], [1, 0, 0, 0, 0])
    run.equal("lines in the files", [len(in_files(pid)) for pid in pids], [0, 1, 1, 1, 1])
    lines = (*in_journal(journaled), *in_files(unwatched), *in_files(filed), *in_files(upgraded))
    levels = [line["fidelity"] for line in lines]
    run.equal("levels: one kill was read from the kernel log", levels, ["full", "log", "full", "full"])

    print("programs that a restart has compiled:", sorted(cached_programs().items() - programs.items()), flush=True)

    # purged while it runs and is enabled
    running = status()["MainPID"]
    dpkg("--purge", "oomtrace")
    run.equal("its process has ended", Path("/proc", running).exists(), False)
    run.true("it ended as it should", f"{SERVICE}: Deactivated successfully." in journal()[-4:])
    known = subprocess.run(["dpkg-query", "--show", "oomtrace"], check=False, capture_output=True)
    run.equal("dpkg knows it no longer", known.returncode, 1)
    run.equal("directories left", [path for path in OWN_DIRECTORIES if path.exists()], [])
    run.equal("left behind", sorted(system_state() - before_install), [])
    run.kills(pids)
