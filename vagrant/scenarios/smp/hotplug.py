# SPDX-License-Identifier: Apache-2.0
"""A CPU goes offline and online while kills are traced: each kill has its line, or is counted as lost.

One more tracer has dropped CAP_SYS_ADMIN, without which Debian's kernels let nobody trace a new CPU at their default,
kernel.perf_event_paranoid=3: it says so, and has the kills on that CPU from the kernel log.
"""

import os
import re
import signal
import time
from contextlib import ExitStack
from itertools import chain
from pathlib import Path

from _scenario import SHOW, Scenario, scenario, setting
from _tolerances import at
from _tracers import TIMEOUT_S, StandingTracer
from support.tracer import Line, RunningTracer
from support.witness import oom_kill_count

CPU = 1
ONLINE = Path(f"/sys/devices/system/cpu/cpu{CPU}/online")
KILLS = 3
"""On each online CPU, in each round."""

LIMITED = ("--level", "reduced", "--require", "reduced", "--no-network")
PARANOID = "/proc/sys/kernel/perf_event_paranoid"
SAID = r"CPU (\d+) has come online and cannot be traced \(Permission denied\): .*; restart oomtrace"
NEW_CPU = 3
"""Which group of victims dies on the CPU that has come back."""


def check_limited(run: Scenario, tracer: RunningTracer, rounds: dict[str, list[int]]) -> None:
    """Check what a tracer without CAP_SYS_ADMIN says, and that each kill has its line or is counted as lost."""
    killed = sum(map(len, rounds.values()))
    deadline = time.monotonic() + TIMEOUT_S
    while (found := lines_and_lost(tracer))[1] + len(found[0]) < killed and time.monotonic() < deadline:
        time.sleep(0.05)
    lines, lost = found
    run.equal("without CAP_SYS_ADMIN: lines and lost", len(lines) + lost, killed)
    for i, (what, pids) in enumerate(rounds.items()):
        levels = [lines[pid]["fidelity"] for pid in pids if pid in lines]
        print(f"without CAP_SYS_ADMIN, {what}: {levels}")
        run.true(f"without CAP_SYS_ADMIN, {what}", i != NEW_CPU or "reduced" not in levels)
    run.equal("said about the CPU", re.findall(SAID, tracer.messages(), re.MULTILINE), [str(CPU)])
    run.true("BCC's library says nothing", "perf_buffer" not in tracer.messages())


def lines_and_lost(tracer: RunningTracer) -> tuple[dict[int, Line], int]:
    """Return the kills by thread, and how many the tracer reports as lost."""
    lines = tracer.lines()
    kills = {line["process"]["tid"]: line for line in lines if line["event"] == "oom_kill"}
    return kills, sum(line["lost"]["count"] for line in lines if line["event"] == "oom_lost")


def lines_by_tid(tracer: StandingTracer, kills: int) -> dict[int, Line]:
    """Wait until a tracer has reported this many kills, as lines or as lost; return its lines by thread."""
    lines = tracer.wait(lambda lines: len(lines) + tracer.lost() >= kills)
    return {line["process"]["tid"]: line for line in lines}


with scenario() as run, setting(str(ONLINE), ONLINE.read_text()), ExitStack() as stack:
    run.repairs = True
    if not SHOW:  # a demonstration may run on another distribution's kernel
        stack.enter_context(setting(PARANOID, "3"))
        limited_tracer = stack.enter_context(RunningTracer(Path(os.environ["OUT"]), *LIMITED, repairs=True))
    limited, before = run.cgroup(24), oom_kill_count()
    rounds: dict[str, list[int]] = {}
    for i, online in enumerate("1010"):
        cpus = (CPU, 0) if online == "1" else (0,)
        victims = [(run.victim("hog", limited), cpu) for cpu in cpus for _ in range(KILLS)]
        ONLINE.write_text(online)  # and the first victim dies on that CPU at once
        for victim, cpu in victims:
            os.sched_setaffinity(victim.pid, {cpu})
            run.equal("status", victim.go().end(), -signal.SIGKILL)
            rounds.setdefault(f"{i}: CPU {CPU} online {online}, killed on {cpu}", []).append(victim.pid)
    killed = oom_kill_count() - before
    run.equal("kills by the kernel's count", killed, sum(map(len, rounds.values())))
    for level, tracer in run.tracers.items():
        lines = lines_by_tid(tracer, killed)
        for what, pids in rounds.items():
            print(f"{level}, {what}: {[lines[pid]['fidelity'] for pid in pids if pid in lines]}")
        run.equal(f"level {level}: lines and lost", len(lines) + tracer.lost(), killed)
        counted = {pid: before + nth for nth, pid in enumerate(chain(*rounds.values()), 1) if pid in lines}
        run.equal(f"level {level}: numbers", {tid: at(line, "oom.number") for tid, line in lines.items()}, counted)
    if not SHOW:
        check_limited(run, limited_tracer, rounds)
    run.show(list(lines_by_tid(run.full, killed).values()))
