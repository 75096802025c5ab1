# SPDX-License-Identifier: Apache-2.0
"""A CPU goes offline and online while kills are traced: each kill has its line, or is counted as lost."""

import os
import signal
from itertools import chain
from pathlib import Path

from _scenario import scenario, setting
from _tolerances import at
from _tracers import StandingTracer
from support.tracer import Line
from support.witness import oom_kill_count

CPU = 1
ONLINE = Path(f"/sys/devices/system/cpu/cpu{CPU}/online")
KILLS = 3
"""On each online CPU, in each round."""


def lines_by_tid(tracer: StandingTracer, kills: int) -> dict[int, Line]:
    """Wait until a tracer has reported this many kills, as lines or as lost; return its lines by thread."""
    lines = tracer.wait(lambda lines: len(lines) + tracer.lost() >= kills)
    return {line["process"]["tid"]: line for line in lines}


with scenario() as run, setting(str(ONLINE), ONLINE.read_text()):
    run.repairs = True
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
    run.show(list(lines_by_tid(run.full, killed).values()))
