# SPDX-License-Identifier: Apache-2.0
"""memory.oom.group: one dies, all die; the kernel kills the first of them twice and must be believed once."""

import signal

from _checks import at
from _stage import stage

SIZE = 8

with stage() as on:
    group = on.cgroup(48)
    (group.folder / "memory.oom.group").write_text("1")
    members = [on.victim("hold", group, 2).go() for _ in range(SIZE - 1)]
    for member in members:
        on.equal("member", member.said(), "holding")
    grower = on.victim("hog", group).go()
    for one in (*members, grower):
        on.equal("status", one.end(), -signal.SIGKILL)
    lines = on.kills([one.pid for one in (*members, grower)])
    on.equal("lines", len(lines), SIZE)
    on.equal("incidents", len({line["oom"]["incident"] for line in lines}), 1)
    on.equal("ids", len({line["id"] for line in lines}), SIZE)
    verdicts = [at(line, "oom.verdict") for line in lines]
    on.equal("verdicts", verdicts, ["group_member"] * (SIZE - 1) + ["killed"])
    for line in lines:
        on.equal("group", at(line, "oom.group.path"), group.path)
        on.equal("trigger", at(line, "oom.trigger.pid"), grower.pid)
        on.equal("size", at(line, "oom.group.size"), SIZE)
