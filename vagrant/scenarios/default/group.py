# SPDX-License-Identifier: Apache-2.0
"""memory.oom.group: one dies, all die; the kernel counts the chosen one twice, and it has one line.

It kills the chosen process, and then all members in the order in which they have joined the cgroup. The chosen one is
the first of these, so that its second kill comes before those of the others and shifts their ordinals.
"""

import signal

from _scenario import scenario
from _tolerances import at
from support.witness import oom_kill_count

SIZE = 8

with scenario() as run:
    group = run.cgroup(48)
    (group.folder / "memory.oom.group").write_text("1")
    grower = run.victim("hog", group)
    members = [run.victim("hold", group, 2).go() for _ in range(SIZE - 1)]
    for member in members:
        run.equal("member", member.said(), "holding")
    before = oom_kill_count()
    grower.go()
    for victim in (grower, *members):
        run.equal("status", victim.end(), -signal.SIGKILL)
    lines = run.kills([victim.pid for victim in (grower, *members)])
    run.equal("kills by the kernel's count", oom_kill_count() - before, SIZE + 1)
    numbers = [at(line, "oom.number") - before for line in lines]
    run.equal("numbers", (numbers[0], sorted(numbers[1:])), (1, list(range(3, SIZE + 2))))
    run.equal("lines", len(lines), SIZE)
    run.equal("incidents", len({line["oom"]["incident"] for line in lines}), 1)
    run.equal("ids", len({line["id"] for line in lines}), SIZE)
    verdicts = [at(line, "oom.verdict") for line in lines]
    run.equal("verdicts", verdicts, ["killed"] + ["group_member"] * (SIZE - 1))
    events = dict(text.split() for text in (group.folder / "memory.events").read_text().splitlines())
    kills = int(events["oom_group_kill"]) if "oom_group_kill" in events else None  # since 5.17
    for line in lines:
        # the chosen one dies before the kernel counts the group's kill
        chosen = at(line, "oom.verdict") == "killed"
        counted = None if kills is None else kills - chosen
        run.equal("memory.events oom_group_kill", at(line, "oom.memcg.events.oom_group_kill"), counted)
        run.equal("group", at(line, "oom.group.path"), group.path)
        run.equal("trigger", at(line, "oom.trigger.pid"), grower.pid)
        run.equal("size", at(line, "oom.group.size"), SIZE)
