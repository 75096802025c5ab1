# SPDX-License-Identifier: Apache-2.0
"""A hundred kills, eight at once and as fast as they come: a line for each, and none lost."""

import signal

from _checks import check_form
from _scenario import scenario
from _tolerances import at
from support.witness import oom_kill_count

KILLS, AT_ONCE = 96, 8

with scenario() as run:
    before = oom_kill_count()
    cgroups = [run.cgroup(16) for _ in range(AT_ONCE)]
    pids = []
    for _ in range(KILLS // AT_ONCE):
        crowd = [run.victim("hog", cgroup, 32) for cgroup in cgroups]
        for victim in crowd:
            victim.go()
        for victim in crowd:
            run.equal("status", victim.end(), -signal.SIGKILL)
            pids.append(victim.pid)
    lines = run.full.kills_of(pids)
    run.equal("lines", sorted(line["process"]["pid"] for line in lines), sorted(pids))
    run.equal("kills by the kernel's count", oom_kill_count() - before, KILLS)
    numbers = sorted(at(line, "oom.number") for line in lines)
    run.equal("numbers", numbers, list(range(before + 1, before + 1 + KILLS)))
    run.equal("incidents", len({at(line, "oom.incident") for line in lines}), KILLS)
    for line in lines:
        check_form(line, run.equal)
        run.equal("dropped", line.get("dropped_before"), None)
        run.equal("missing", line["missing"], [])
        run.equal("arguments", at(line, "process.command_args")[1:], ["hog", "32"])
    run.true("the tracer still runs", run.full.runs())
    run.show(lines)
