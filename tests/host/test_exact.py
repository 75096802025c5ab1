# SPDX-License-Identifier: Apache-2.0
"""Numbers that change while a victim is being killed are those from before: many threads, fast exits, deep cgroups."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest
from support.tracer import Line
from support.victims import Victim
from support.witness import KernelLog

from ooMtrace.kernel.scratch_cgroup import ScratchCgroup

MIB = 1 << 20
PAGE = os.sysconf("SC_PAGE_SIZE")
CPUS = os.cpu_count() or 1
THREAD_SIZE = 64 << 10
"""Memory to allow for a thread: kernel stack, task_struct, a page of its own stack, page tables."""


def threads_of(pid: int) -> int:
    found = re.search(r"^Threads:\t(\d+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1])


def thread_limit() -> int:
    """Return how many more threads this machine admits: by its settings, its free memory, and our own cgroup."""
    running = int(Path("/proc/loadavg").read_text().split()[3].split("/")[1])
    limits = [int(Path(f"/proc/sys/kernel/{name}").read_text()) - running for name in ("threads-max", "pid_max")]
    available = re.search(r"^MemAvailable: +(\d+) kB$", Path("/proc/meminfo").read_text(), re.MULTILINE)
    limits.append(int(available[1]) * 1024 // THREAD_SIZE if available else 0)
    for path in re.findall(r"^\d+:(?:pids|):(.*)$", Path("/proc/self/cgroup").read_text(), re.MULTILINE):
        for mount in ("/sys/fs/cgroup", "/sys/fs/cgroup/pids"):
            file = Path(f"{mount}{path}/pids.max")
            if file.exists() and (limit := file.read_text().strip()) != "max":
                limits.append(int(limit))
    return min(limits)


class Crew:
    """A process of many threads in a cgroup of its own, whose limit it exceeds on request."""

    def __init__(self, victim: Victim, limited: ScratchCgroup) -> None:
        self.victim, self._limited = victim.go(), limited
        self.sharer = int(victim.said())
        self.pid, self.threads = victim.pid, threads_of(victim.pid)

    def kill(self) -> None:
        self._limited.limit(self._limited.usage() + 8 * MIB)
        self.victim.go()
        assert self.victim.end() == -signal.SIGKILL


def threads_in(line: Line) -> int | None:
    threads: int | None = line["process"].get("threads")
    return threads


@pytest.mark.parametrize("threads", [5_001, 20_001])
def test_the_threads_are_those_before_the_signal(tracer, cgroup, victim, threads):
    if thread_limit() < threads + 1000:
        pytest.skip(f"this machine does not admit {threads} threads (threads-max, pid_max, pids.max, memory)")
    for _ in range(3):
        limited = cgroup()
        crew = Crew(victim("crew", limited, 256, arguments=[b"%d" % threads]), limited)
        assert crew.threads == threads
        crew.kill()

        (line,) = tracer.lines_of([crew.pid])

        assert threads_in(line) == threads


def test_the_threads_of_a_sharer_are_its_own(tracer, cgroup, victim):
    for _ in range(3):
        limited = cgroup()
        crew = Crew(victim("crew", limited, 256, arguments=[b"2001", b"shared"]), limited)
        crew.kill()

        lines = tracer.lines_of([crew.pid, crew.sharer])

        assert {line["process"]["pid"]: threads_in(line) for line in lines} == {crew.pid: 2001, crew.sharer: 1}
        assert sorted(line["oom"]["verdict"] for line in lines) == ["killed", "shared_mm"]


def test_the_sizes_of_victims_with_many_threads_are_those_that_the_kernel_logs(tracer, cgroup, victim):
    """The kernel prints them right after the mark, in the same thread. It rounds pages to kilobytes."""
    log, pids = KernelLog(), []
    for i in range(50):
        limited = cgroup()
        crew = Crew(victim("crew", limited, 64, arguments=[b"%d" % (2 + 10 * i)]), limited)
        crew.kill()
        pids.append((crew.pid, crew.threads))

    lines = {line["process"]["pid"]: line for line in tracer.lines_of([pid for pid, _ in pids])}

    logged = {kill.pid: kill for kill in log.kills().values()}
    for pid, threads in pids:
        line, kill = lines[pid], logged[lines[pid]["process"]["tid"]]
        memory = line["process"]["memory"]
        assert threads_in(line) == threads
        for name in ("total_vm", "anon", "file", "shmem", "page_tables"):
            # a thread on another CPU may still run, and each CPU may hold back some of its counts
            assert abs(memory[name] // 1024 - getattr(kill, name)) * 1024 <= 64 * PAGE * CPUS, (pid, name)


def nest(cgroup: object, depth: int, name: str = "n") -> list[ScratchCgroup]:
    """Make cgroups within one another; return them from the top."""
    made = [cgroup()]  # type: ignore[operator]
    for _ in range(depth - 1):
        made.append(cgroup(name=f"{made[-1].path[1:]}/{name}"))  # type: ignore[operator]
        if made[-1].version != 1:
            (made[-2].folder / "cgroup.subtree_control").write_text("+memory")
    return made


@pytest.mark.parametrize("depth", [20, 40, 120])
@pytest.mark.parametrize("limited_at", [0, 0.5], ids=["top", "middle"])
def test_a_limit_far_above_the_victim_is_found(tracer, cgroup, victim, depth, limited_at):
    made = nest(cgroup, depth)
    top, leaf = made[int(depth * limited_at)], made[-1]
    made[0].limit(64 * MIB)
    top.limit(24 * MIB)
    process = victim("hog", leaf).go()
    assert process.end() == -signal.SIGKILL

    (line,) = tracer.lines_of([process.pid])

    assert line["cgroup"]["path"] == leaf.path
    assert line["cgroup"]["id"] == str(leaf.folder.stat().st_ino)
    assert line["oom"]["scope"] == "memcg"
    assert line["oom"]["memcg"]["path"] == top.path
    assert line["oom"]["memcg"]["id"] == str(top.folder.stat().st_ino)
    assert line["oom"]["memcg"]["limit"] == line["oom"]["limit_bytes"] == 24 * MIB
    assert line["oom"]["trigger"]["cgroup"] == leaf.path


def test_the_nearest_of_many_limits_on_the_way_up_is_found(tracer, cgroup, victim):
    made = nest(cgroup, 60)
    for index, each in enumerate(made):
        each.limit((64 + index) * MIB)
    process = victim("hog", made[-1]).go()
    assert process.end() == -signal.SIGKILL

    (line,) = tracer.lines_of([process.pid])

    assert line["oom"]["memcg"]["path"] == made[0].path
    assert line["oom"]["memcg"]["limit"] == 64 * MIB


def test_a_path_that_is_too_long_is_missing_and_not_cut(tracer, cgroup, victim):
    made = nest(cgroup, 14, "n" * 250)
    made[0].limit(24 * MIB)
    process = victim("hog", made[-1]).go()
    assert process.end() == -signal.SIGKILL

    (line,) = tracer.lines_of([process.pid])

    for name, path in (
        ("cgroup.path", made[-1].path),
        ("oom.memcg.path", made[0].path),
        ("oom.trigger.cgroup", made[-1].path),
    ):
        part = line
        for key in name.split("."):
            part = part.get(key, {})
        assert part == path or name in line["missing"] or name in line.get("truncated", []), (name, part)
    assert line["oom"]["memcg"]["limit"] == 24 * MIB
