# SPDX-License-Identifier: Apache-2.0
"""The limit is an ancestor's: victim and trigger are in different cgroups below it."""

from _scenario import scenario
from _tolerances import at

with scenario() as run:
    parent = run.cgroup(64)
    (parent.folder / "cgroup.subtree_control").write_text("+memory")
    name = parent.path[1:]
    # the victim's own limit is never reached
    holders, growers = run.cgroup(60, f"{name}/holder"), run.cgroup(name=f"{name}/grower")
    holder = run.victim("hold", holders, 40).go()
    run.equal("holder", holder.said(), "holding")
    grower = run.victim("hog", growers, 40).go()
    (line,) = run.kills([holder.pid])
    run.equal("victim's cgroup", at(line, "cgroup.path"), holders.path)
    run.equal("victim's cgroup id", at(line, "cgroup.id"), str(holders.folder.stat().st_ino))
    run.equal("domain", at(line, "oom.memcg.path"), parent.path)
    run.equal("domain id", at(line, "oom.memcg.id"), str(parent.folder.stat().st_ino))
    run.equal("limit", at(line, "oom.memcg.limit"), 64 << 20)
    run.equal("trigger", at(line, "oom.trigger.pid"), grower.pid)
    run.equal("trigger's cgroup", at(line, "oom.trigger.cgroup"), growers.path)
