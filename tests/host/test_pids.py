# SPDX-License-Identifier: Apache-2.0
"""A tracer in a pid namespace of its own reports the host's kills, and no facts of a stranger with the same pid."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.tracer import TIMEOUT_S, Line, RunningTracer
from support.witness import KernelLog

STRANGER = "import time; open('/proc/self/comm', 'w').write('victim'); time.sleep(600)"


class ContainedTracer(RunningTracer):
    """A tracer beside a stranger: a process that has pid `number` and the victim's name in this namespace."""

    def __init__(self, folder: Path, number: int, *options: str) -> None:
        super().__init__(folder, *options)
        self.stranger = folder / "stranger"
        script = f"""
            echo {number - 1} > /proc/sys/kernel/ns_last_pid
            /usr/bin/python3 -ISc "{STRANGER}" &
            echo $! > {self.stranger}
            until grep -qx victim /proc/$!/comm; do sleep 0.01; done
            exec "$@"
        """
        self._command = ["unshare", "--pid", "--fork", "--mount-proc", "sh", "-ec", script, "sh", *self._command]

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Stop the tracer: unshare itself only waits for it."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        os.kill(int(children), number)
        return self.process.wait(TIMEOUT_S)


@contextmanager
def contained(folder: Path, number: int, *options: str) -> Iterator[ContainedTracer]:
    with ContainedTracer(folder, number, *options) as tracer:
        assert int(tracer.stranger.read_text()) == number, "another process got the pid"
        yield tracer


def line_of(tracer: ContainedTracer, tid: int) -> Line:
    """Wait for the line of a thread: level minimal may know no more than its id."""
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        mine = [line for line in tracer.lines() if line["process"].get("tid") == tid]
        if mine:
            assert len(mine) == 1
            return mine[0]
        assert time.monotonic() < deadline, tracer.messages()
        time.sleep(0.02)


@pytest.mark.parametrize("level", ["reduced", "minimal", "log"])
def test_a_kill_on_the_host_has_the_hosts_facts_and_none_of_a_stranger(tmp_path, cgroup, victim, level, validate):
    process = victim("hog", cgroup(24))
    with contained(tmp_path, process.pid, "--level", level) as tracer:
        assert "the pid namespace is not the host's" in tracer.messages()
        log = KernelLog()
        process.go().end()
        line = line_of(tracer, process.pid)

    validate(line)
    assert line["fidelity"] == level
    assert line["process"]["tid"] == process.pid
    assert line["process"]["comm"] == "victim"
    assert "sleep(600)" not in str(line)
    if level == "reduced":
        assert line["process"]["pid"] == line["process"]["vpid"] == process.pid
        assert line["process"]["parent"]["pid"] == os.getpid()
        assert line["process"]["command_args"][1:3] == ["hog", "256"]
        assert line["cgroup"]["path"].startswith("/oomtrace-test-")
    elif level == "log":
        # the victim's own line in the log has the thread; the report, of which the kernel prints few, the process
        if process.pid in log.summaries():
            assert line["process"]["pid"] == process.pid
        assert {"process.parent", "process.threads", "process.command_args"} <= set(line["missing"])
    else:
        assert {"pid", "parent", "threads", "command_args"}.isdisjoint(line["process"])
        assert {"process.pid", "process.parent", "process.threads", "process.command_args"} <= set(line["missing"])
        assert "cgroup" not in line
