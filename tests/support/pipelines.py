# SPDX-License-Identifier: Apache-2.0
"""The examples in deploy/pipeline, started with other paths and ports, and the lines that are sent through them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from ooMtrace import record
from ooMtrace.output.encode import encode
from ooMtrace.output.open import open_outputs
from ooMtrace.output.url import parse_output
from support.explained import FIXTURES
from support.packages import LIBRARIES, environment_of, unpacked
from support.probe_events import kill, lost
from support.receivers import wait_for
from support.recipes import dump, lines

FOLDER = Path(__file__).parents[2] / "deploy/pipeline"
Line = dict[str, Any]

RSYSLOG = ("rsyslog", "rsyslog-gnutls", "libestr0", "libfastjson4", "liblognorm5")
SYSLOG_NG = ("syslog-ng-core", "libivykis0", "libnet1", "libpcre3", "libwrap0")
KCAT = ("kcat", "librdkafka1", "libyajl2", "liblz4-1", "libsasl2-2", "libzstd1")
LOGROTATE = ("logrotate", "libpopt0")


def free_port() -> int:
    """Return a TCP port of the loopback interface that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def example(name: str, changes: Mapping[str, object]) -> str:
    """Return an example with other paths, hosts and ports: each of them stands in it, and no other is changed."""
    text = (FOLDER / name).read_text()
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, str(new))
    return text


def sent_lines() -> list[Line]:
    """Return lines of real kills, with hostile names, integers that a double cannot hold, and the longest line."""
    hostile = [json.loads(line) for line in (FIXTURES / "records/hostile.json").read_text().splitlines()]
    base = kill()
    longest = replace(base, id="longest", process=replace(base.process, command_args=("x" * 97,) * 70))
    large = {**lines()[0], "id": "large", "future": {"integer": (1 << 53) + 1, "true": True, "real": 0.25, "text": "7"}}
    whole = json.loads(encode(longest))
    found = [*lines(), *hostile, large, whole]
    return [{**line, "host": {**line["host"], "name": "node1"}} for line in found]


def sent_records() -> list[record.Record]:
    """Return records of kills with hostile names and arguments, of a whole host, of a loss, and of the longest line."""
    base = kill()
    process = replace(base.process, comm='a\nb"\\\x1b', command_args=("\xe9" * 50, "\u2028", "\t"))
    kills = [
        replace(base, id=f"sent-{number}", seq=number, process=replace(process, pid=number)) for number in range(1, 31)
    ]
    whole = replace(base, id="whole", oom=replace(base.oom, scope="global"))
    longest = replace(base, id="longest", process=replace(base.process, command_args=("x" * 97,) * 70))
    return [*kills, whole, lost(), longest]


def send(url: str, *records: record.Record) -> None:
    """Send records to an output of oomtrace, and wait until they are delivered."""
    said: list[str] = []
    outputs = open_outputs([parse_output(url)], said.append)
    outputs.start("full")
    for each in records:
        outputs.put(each)
    outputs.drain(60)
    outputs.check_all_written(0)
    outputs.close()
    assert said == []


def append(file: Path, each: Sequence[Line]) -> None:
    """Write lines as oomtrace does: at the end, one write for each."""
    with file.open("ab", buffering=0) as opened:
        for line in each:
            opened.write(dump([line]).encode())


def lines_in(file: Path) -> list[Line]:
    """Return all complete lines so far."""
    raw = file.read_bytes() if file.exists() else b""
    return [json.loads(line) for line in raw.split(b"\n")[:-1]]


@contextmanager
def started(log: Path, *command: str | Path, env: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a daemon with its messages in a file, and end it."""
    with log.open("wb") as messages:
        process = subprocess.Popen(command, env={**os.environ, **env}, stdout=messages, stderr=messages)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def rsyslogd(folder: Path, name: str, config: str, port: int = 0) -> Iterator[subprocess.Popen[bytes]]:
    """Run rsyslogd with this configuration, once the port is open if it has one."""
    root = unpacked(*RSYSLOG)
    work = folder / f"{name}.d"
    work.mkdir(exist_ok=True)
    # in a real one /etc/rsyslog.conf sets the directory
    (folder / name).write_text(f'global(workDirectory="{work}")\n{config}')
    options: list[str | Path] = [
        "-n",
        "-f",
        folder / name,
        "-i",
        folder / f"{name}.pid",
        "-M",
        root / LIBRARIES / "rsyslog",
    ]
    with started(folder / f"{name}.txt", root / "usr/sbin/rsyslogd", *options, env=environment_of(root)) as process:
        wait_for(lambda: process.poll() is not None or not port or is_open(port))
        assert process.poll() is None, _text(folder / f"{name}.txt")
        yield process


@contextmanager
def syslog_ng(folder: Path, config: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run syslog-ng with this configuration until the port is open."""
    root = unpacked(*SYSLOG_NG)
    (folder / "syslog-ng.conf").write_text(f"@version: 3.38\n{config}")
    modules = root / "usr/lib/syslog-ng"
    env = {"LD_LIBRARY_PATH": f"{root / LIBRARIES}:{root / 'lib/x86_64-linux-gnu'}:{modules}"}
    state = [f"--{name}={folder / name}" for name in ("persist-file", "pidfile", "control")]
    options: list[str | Path] = [
        "-F",
        "--no-caps",
        "-f",
        folder / "syslog-ng.conf",
        f"--module-path={modules}/3.38",
        *state,
    ]
    with started(folder / "syslog-ng.txt", root / "usr/sbin/syslog-ng", *options, env=env) as process:
        wait_for(lambda: process.poll() is not None or is_open(port))
        assert process.poll() is None, _text(folder / "syslog-ng.txt")
        yield process


def is_open(port: int) -> bool:
    """Return whether somebody listens on this port of the loopback interface, in the way that needs no connection."""
    text = Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()
    return any(line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A" for line in text.splitlines()[1:])


def _text(file: Path) -> str:
    return file.read_text(errors="replace") if file.exists() else ""
