# SPDX-License-Identifier: Apache-2.0
"""oomtrace as a service: what systemd-analyze says of the unit, and its capabilities and notifications, for real."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from support.tracer import COMMAND, RunningTracer

from ooMtrace.kernel.scratch_cgroup import scratch_cgroup

UNIT = Path(__file__).parents[2] / "deploy/systemd/oomtrace.service"
MAX_EXPOSURE = 40
"""Tenths, as systemd-analyze counts: up to here it says OK."""
TIMEOUT_S = 60


@pytest.fixture(scope="module")
def systemd_analyze(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, str]]:
    """Return systemd-analyze and its environment: the machine's, or that of Debian's packages, unpacked."""
    if found := shutil.which("systemd-analyze"):
        return found, dict(os.environ)
    folder = tmp_path_factory.mktemp("systemd")
    subprocess.run(["apt-get", "update", "-qq"], check=True)
    subprocess.run(["apt-get", "download", "-qq", "systemd", "libsystemd-shared"], cwd=folder, check=True)
    for package in folder.glob("*.deb"):
        subprocess.run(["dpkg", "-x", package, folder / "root"], check=True)
    (library,) = {path.parent for path in (folder / "root").rglob("libsystemd-shared-*.so")}
    return str(folder / "root/usr/bin/systemd-analyze"), {**os.environ, "LD_LIBRARY_PATH": str(library)}


def test_the_unit_is_well_sandboxed(systemd_analyze):
    program, environment = systemd_analyze
    command = [program, "security", "--offline=true", f"--threshold={MAX_EXPOSURE}", "--no-pager", UNIT]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    assert "Overall exposure level" in done.stdout
    assert done.returncode == 0, done.stdout


def test_systemd_understands_every_line_of_the_unit(systemd_analyze, tmp_path):
    program, environment = systemd_analyze
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/usr/local/bin/oomtrace", "/bin/true"))
    command = [program, "verify", "--man=no", unit]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    assert [line for line in done.stderr.splitlines() if unit.name in line] == []


@dataclass
class Manager:
    """Has the socket that a service manager would have."""

    path: Path
    messages: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))

    def wait(self, pattern: str) -> None:
        """Receive until a message matches; the messages up to there are used up."""
        deadline = time.monotonic() + TIMEOUT_S
        while not any(re.search(pattern, message) for message in self.messages):
            self._socket.settimeout(max(0.001, deadline - time.monotonic()))
            self.messages.append(self._socket.recv(4096).decode())
        self.messages.clear()

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(tmp_path / "notify")
    yield made
    made.close()


def test_with_the_capabilities_of_the_unit_it_traces_as_with_all_and_notifies(manager, tmp_path):
    (given,) = re.findall(r"^CapabilityBoundingSet=(.+)$", UNIT.read_text(), re.MULTILINE)
    bounds = ",".join(["-all", *(f"+{name.removeprefix('CAP_').lower()}" for name in given.split())])
    environment = [f"NOTIFY_SOCKET={manager.path}", "WATCHDOG_USEC=2000000"]
    wrapper = ("env", *environment, "setpriv", f"--bounding-set={bounds}", "--no-new-privs")
    config = tmp_path / "c.toml"
    config.touch(mode=0o600)
    with RunningTracer(tmp_path, "--config", str(config), wrapper=wrapper) as tracer, scratch_cgroup("unit") as cgroup:
        manager.wait(rf"^READY=1\nSTATUS=level {tracer.reached_level()}; \d+ kills? reported, 0 lost$")
        cgroup.limit(32 << 20)
        victim = subprocess.Popen(
            ["sh", "-c", f"echo $$ > {cgroup.folder}/cgroup.procs; exec tail /dev/zero"], stdin=subprocess.DEVNULL
        )
        (line,) = tracer.lines_of([victim.pid])
        victim.wait()
        manager.wait(r"^STATUS=level \w+; [1-9]\d* kills? reported, 0 lost$")
        manager.wait("^WATCHDOG=1$")
        config.write_text('service = ["7000=redis"]\nlevel = "log"\n')
        tracer.process.send_signal(signal.SIGHUP)
        manager.wait(r"^RELOADING=1\nMONOTONIC_USEC=\d+$")
        manager.wait("^READY=1\n")
        tracer.process.send_signal(signal.SIGTERM)
        manager.wait("^STOPPING=1$")
        tracer.process.wait()

    said = tracer.messages()
    assert f"{config} was read again; changed: service" in said
    assert f"{config} was read again; restart oomtrace for the changes of: level" in said
    with_all = json.loads(subprocess.run([COMMAND, "demo"], capture_output=True, check=True).stdout)
    assert (line["fidelity"], line["missing"]) == (with_all["fidelity"], with_all["missing"])
