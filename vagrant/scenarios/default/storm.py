# SPDX-License-Identifier: Apache-2.0
"""A hundred kills, eight at once and as fast as they come: a line for each, and none lost."""

import signal

from _checks import at, check_form
from _stage import stage
from support.witness import oom_kill_count

KILLS, AT_ONCE = 96, 8

with stage() as on:
    before = oom_kill_count()
    cgroups = [on.cgroup(16) for _ in range(AT_ONCE)]
    pids = []
    for _ in range(KILLS // AT_ONCE):
        crowd = [on.victim("hog", cgroup, 32) for cgroup in cgroups]
        for one in crowd:
            one.go()
        for one in crowd:
            on.equal("status", one.end(), -signal.SIGKILL)
            pids.append(one.pid)
    lines = on.full.kills_of(pids)
    on.equal("lines", sorted(line["process"]["pid"] for line in lines), sorted(pids))
    on.equal("kills by the kernel's count", oom_kill_count() - before, KILLS)
    numbers = sorted(at(line, "oom.number") for line in lines)
    on.equal("numbers", numbers, list(range(before + 1, before + 1 + KILLS)))
    on.equal("incidents", len({at(line, "oom.incident") for line in lines}), KILLS)
    for line in lines:
        check_form(line, on.equal)
        on.equal("dropped", line.get("dropped_before"), None)
        on.equal("missing", line["missing"], [])
        on.equal("arguments", at(line, "process.command_args")[1:], ["hog", "32"])
    on.true("the tracer still runs", on.full.runs())
    on.show(lines)
