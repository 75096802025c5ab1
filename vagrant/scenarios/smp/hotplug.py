# SPDX-License-Identifier: Apache-2.0
"""A CPU goes, comes back and goes again while kills are traced: each kill has its line, or is counted as lost."""

import os
import signal
from itertools import chain
from pathlib import Path

from _checks import at
from _stage import setting, stage
from _tracers import StandingTracer
from support.tracer import Line
from support.witness import oom_kill_count

CPU = 1
ONLINE = Path(f"/sys/devices/system/cpu/cpu{CPU}/online")
KILLS = 3
"""On each CPU that is there, each time."""


def told(tracer: StandingTracer, kills: int) -> dict[int, Line]:
    """Wait until a tracer has told of so many kills or called them lost; return its lines by thread."""
    lines = tracer.wait(lambda lines: len(lines) + tracer.lost() >= kills)
    return {line["process"]["tid"]: line for line in lines}


with stage() as on, setting(str(ONLINE), ONLINE.read_text()):
    limited, before = on.cgroup(24), oom_kill_count()
    rounds: dict[str, list[int]] = {}
    for i, there in enumerate("1010"):
        cpus = (CPU, 0) if there == "1" else (0,)
        waiting = [(on.victim("hog", limited), cpu) for cpu in cpus for _ in range(KILLS)]
        ONLINE.write_text(there)  # and the first dies there as soon as it can
        for one, cpu in waiting:
            os.sched_setaffinity(one.pid, {cpu})
            on.equal("status", one.go().end(), -signal.SIGKILL)
            rounds.setdefault(f"{i}: CPU {CPU} online {there}, killed on {cpu}", []).append(one.pid)
    killed = oom_kill_count() - before
    on.equal("kills by the kernel's count", killed, sum(map(len, rounds.values())))
    for level, tracer in on.tracers.items():
        lines = told(tracer, killed)
        for what, pids in rounds.items():
            print(f"{level}, {what}: {[lines[pid]['fidelity'] for pid in pids if pid in lines]}")
        on.equal(f"level {level}: lines and lost", len(lines) + tracer.lost(), killed)
        counted = {pid: before + nth for nth, pid in enumerate(chain(*rounds.values()), 1) if pid in lines}
        on.equal(f"level {level}: numbers", {tid: at(line, "oom.number") for tid, line in lines.items()}, counted)
    on.show(list(told(on.full, killed).values()))
