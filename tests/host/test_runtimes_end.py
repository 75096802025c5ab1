# SPDX-License-Identifier: Apache-2.0
"""What is left of the container runtimes of a test: no process, and only cgroups that others have made."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.runtimes import bed, cgroup_parents

TESTS = Path(__file__).parents[1]
TIMEOUT_S = 60
USER = """\
import sys, time
from pathlib import Path
from support.runtimes import bed
with bed(Path(sys.argv[1])) as made:
    made.start("setsid", "sh", "-c", "sleep 600 & sleep 600")
    while len(list(made.path("/proc").glob("[0-9]*"))) < 5:
        time.sleep(0.05)
    print(Path(f"/proc/{made.pid}/ns/pid_for_children").readlink(), flush=True)
    time.sleep(600)
"""


pytestmark = pytest.mark.skipif(shutil.which("mmdebstrap") is None, reason="mmdebstrap is not installed")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_process_of_the_runtimes_is_left_when_the_test_is_killed(number, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    command = [sys.executable, "-c", USER, str(tmp_path)]
    with cgroup_parents(), subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as user:
        assert user.stdout
        namespace = user.stdout.readline().strip()
        assert len(processes_in(namespace)) >= 5
        user.send_signal(number)

    deadline = time.monotonic() + TIMEOUT_S
    while left := processes_in(namespace):
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def test_of_the_cgroups_made_meanwhile_only_those_of_its_processes_are_removed(tmp_path):
    top = Path("/sys/fs/cgroup/memory") if Path("/sys/fs/cgroup/memory").is_dir() else Path("/sys/fs/cgroup")
    parent = top / "docker"
    there = parent.exists()
    try:
        with bed(tmp_path) as made:
            own, other = (parent / f"{name}-{os.getpid()}" for name in ("own", "other"))
            own.mkdir()
            other.mkdir()
            made.start("sh", "-c", f"echo $$ > {own}/cgroup.procs; exec sleep 600")
            deadline = time.monotonic() + TIMEOUT_S
            while not (own / "cgroup.procs").read_text():
                assert time.monotonic() < deadline
                time.sleep(0.05)
        assert not own.exists()
        assert other.exists()
    finally:
        other.rmdir()
        if not there:
            parent.rmdir()


def processes_in(namespace: str) -> list[str]:
    """Return the processes in a pid namespace, such as `pid:[4026531836]`."""

    def is_in(process: Path) -> bool:
        try:
            return str((process / "ns/pid").readlink()) == namespace
        except OSError:  # ended
            return False

    return [process.name for process in Path("/proc").glob("[0-9]*") if is_in(process)]
