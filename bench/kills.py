# SPDX-License-Identifier: Apache-2.0
"""The kills on which the tools are compared, each kind with the processes that truly died of it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.storm import storm
from support.victims import Victim

from ooMtrace.kernel.scratch_cgroup import ScratchCgroup, scratch_cgroup

INSTANCE = Path("/sys/kernel/tracing/instances/bench")
GROW = """
import os, signal
input()
os.sched_setaffinity(0, {{0}})
os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))
os.kill({pid}, signal.SIGKILL)
bytearray({megabytes} << 20)
"""
"""As in the scenario `dying_chosen`: the process that gets the signal cannot run before the limit is exceeded."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A kind of kill: its title, and what makes one and returns the processes that the OOM killer killed."""

    title: str
    make: Callable[[Path], list[int]]


DUMP_TASKS = Path("/proc/sys/vm/oom_dump_tasks")
CROWD_ROOM = 16 << 20
UNLIMITED = 1 << 40


@contextmanager
def _limited(megabytes: int) -> Iterator[ScratchCgroup]:
    with scratch_cgroup(f"bench-{os.getpid()}") as cgroup:
        if megabytes:
            cgroup.limit(megabytes << 20)
        yield cgroup


@contextmanager
def setting(file: Path, value: str) -> Iterator[None]:
    """Change one of the kernel's settings until the end of the block."""
    before = file.read_text()
    file.write_text(value)
    try:
        yield
    finally:
        file.write_text(before)


def paced(program: Path, count: int, pause_s: float) -> list[int]:
    """Make kills one after the other; return the pids."""
    pids = []
    with _limited(8) as cgroup:
        for _ in range(count):
            victim = Victim(program, "hog", cgroup).go()
            victim.end()
            pids.append(victim.pid)
            time.sleep(pause_s)
    return pids


def storm_of(program: Path, count: int, at_once: int) -> list[int]:
    """Make kills as fast as they come; return the pids."""
    with _limited(8) as cgroup:
        return storm(program, cgroup, count, at_once)


def _group(program: Path) -> list[int]:
    with _limited(48) as cgroup, ExitStack() as stack:
        (cgroup.folder / "memory.oom.group").write_text("1")
        members = [Victim(program, "hold", cgroup, 2).go() for _ in range(7)]
        for member in members:
            stack.callback(member.kill)
            member.said()
        victims = [*members, Victim(program, "hog", cgroup).go()]
        return [victim.pid for victim in victims if victim.end() == -signal.SIGKILL]


def _leaderless(program: Path) -> list[int]:
    with _limited(24) as cgroup:
        victim = Victim(program, "leaderless", cgroup).go()
        victim.end()
        return [victim.pid]


def _sharer(program: Path) -> list[int]:
    with _limited(24) as cgroup:
        victim = Victim(program, "sharer", cgroup).go()
        other = int(victim.said())
        victim.end()
        return [victim.pid, other]


def _other_trigger(program: Path) -> list[int]:
    with _limited(24) as cgroup:
        bigger = Victim(program, "hold", cgroup, 18).go()
        bigger.said()
        smaller = Victim(program, "hold", cgroup, 10).go()
        died = bigger.end() == -signal.SIGKILL
        smaller.kill()
        return [bigger.pid] if died else []


def _already_dying(program: Path) -> list[int]:
    with _limited(48) as cgroup:
        biggest = Victim(program, "hold", cgroup, 30)
        os.sched_setaffinity(biggest.pid, {0})
        biggest.go().said()
        code = GROW.format(pid=biggest.pid, megabytes=24)
        with subprocess.Popen([sys.executable, "-I", "-S", "-c", code], stdin=subprocess.PIPE) as grower:
            cgroup.join(grower.pid)
            grower.communicate(b"\n")
        biggest.end()
        assert cgroup.oom_kills() == 0, "the kernel has killed a process that was already dying"
    return []


SCENES = {
    "group": Scene("group of 8 processes", _group),
    "sharer": Scene("2 processes that share their memory", _sharer),
    "leaderless": Scene("main thread has exited", _leaderless),
    "other_trigger": Scene("another process than the victim exceeds the limit", _other_trigger),
    "already_dying": Scene("already dying: no kill", _already_dying),
}


def crowds(program: Path, sizes: Sequence[int]) -> Iterator[int]:
    """Kill one process among each of these numbers of others, which grow; yields the number after each kill.

    Uses cgroup.kill (since 5.14).
    """
    with _limited(0) as cgroup, setting(DUMP_TASKS, "0"), ExitStack() as stack:
        before = 0
        for size in sizes:
            cgroup.limit(UNLIMITED)
            crowd = Victim(program, "crowd", cgroup, size - before).go()
            stack.callback(crowd.end)
            stack.callback((cgroup.folder / "cgroup.kill").write_text, "1")
            crowd.said()
            cgroup.limit(int((cgroup.folder / "memory.current").read_text()) + CROWD_ROOM)
            Victim(program, "hog", cgroup).go().end()
            yield size
            before = size


@contextmanager
def marks() -> Iterator[Callable[[], dict[int, int]]]:
    """Record oom:mark_victim until the end of the block.

    The function yielded returns the first mark of each thread since its last call (ns, CLOCK_MONOTONIC).
    """
    INSTANCE.mkdir(exist_ok=True)
    (INSTANCE / "trace_clock").write_text("mono")
    (INSTANCE / "buffer_size_kb").write_text("2048")
    (INSTANCE / "events/oom/mark_victim/enable").write_text("1")
    try:
        yield _take_marks
    finally:
        (INSTANCE / "events/oom/mark_victim/enable").write_text("0")
        INSTANCE.rmdir()


def _take_marks() -> dict[int, int]:
    text = (INSTANCE / "trace").read_text()
    (INSTANCE / "trace").write_text("")
    return parse_marks(text)


def parse_marks(text: str) -> dict[int, int]:
    """Return the first mark of each thread in a trace (ns)."""
    found: dict[int, int] = {}
    for seconds, micros, tid in re.findall(r"\s(\d+)\.(\d{6}): mark_victim: pid=(\d+)", text):
        found.setdefault(int(tid), int(seconds) * 10**9 + int(micros) * 1000)
    return found
