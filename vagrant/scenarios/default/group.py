# SPDX-License-Identifier: Apache-2.0
"""memory.oom.group: one dies, all die; the kernel counts the first of them twice, and it has one line."""

import signal

from _checks import at
from _scenario import scenario

SIZE = 8

with scenario() as run:
    group = run.cgroup(48)
    (group.folder / "memory.oom.group").write_text("1")
    members = [run.victim("hold", group, 2).go() for _ in range(SIZE - 1)]
    for member in members:
        run.equal("member", member.said(), "holding")
    grower = run.victim("hog", group).go()
    for victim in (*members, grower):
        run.equal("status", victim.end(), -signal.SIGKILL)
    lines = run.kills([victim.pid for victim in (*members, grower)])
    run.equal("lines", len(lines), SIZE)
    run.equal("incidents", len({line["oom"]["incident"] for line in lines}), 1)
    run.equal("ids", len({line["id"] for line in lines}), SIZE)
    verdicts = [at(line, "oom.verdict") for line in lines]
    run.equal("verdicts", verdicts, ["group_member"] * (SIZE - 1) + ["killed"])
    for line in lines:
        run.equal("group", at(line, "oom.group.path"), group.path)
        run.equal("trigger", at(line, "oom.trigger.pid"), grower.pid)
        run.equal("size", at(line, "oom.group.size"), SIZE)
