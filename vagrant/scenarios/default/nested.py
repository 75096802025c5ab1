# SPDX-License-Identifier: Apache-2.0
"""The limit is an ancestor's: victim and trigger are in different cgroups below it."""

from _checks import at
from _stage import stage

with stage() as on:
    parent = on.cgroup(64)
    (parent.folder / "cgroup.subtree_control").write_text("+memory")
    name = parent.path[1:]
    # the victim's own limit is never reached
    holders, growers = on.cgroup(60, f"{name}/holder"), on.cgroup(name=f"{name}/grower")
    holder = on.victim("hold", holders, 40).go()
    on.equal("holder", holder.said(), "holding")
    grower = on.victim("hog", growers, 40).go()
    (line,) = on.kills([holder.pid])
    on.equal("victim's cgroup", at(line, "cgroup.path"), holders.path)
    on.equal("victim's cgroup id", at(line, "cgroup.id"), str(holders.folder.stat().st_ino))
    on.equal("domain", at(line, "oom.memcg.path"), parent.path)
    on.equal("domain id", at(line, "oom.memcg.id"), str(parent.folder.stat().st_ino))
    on.equal("limit", at(line, "oom.memcg.limit"), 64 << 20)
    on.equal("trigger", at(line, "oom.trigger.pid"), grower.pid)
    on.equal("trigger's cgroup", at(line, "oom.trigger.cgroup"), growers.path)
