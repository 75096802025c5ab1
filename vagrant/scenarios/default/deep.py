# SPDX-License-Identifier: Apache-2.0
"""The limit is 39 levels above the victim's cgroup; paths are whole."""

import signal

from _scenario import scenario
from _tolerances import at

DEPTH = 40

with scenario() as run:
    made = [run.cgroup(32)]
    for _ in range(DEPTH - 1):
        (made[-1].folder / "cgroup.subtree_control").write_text("+memory")
        made.append(run.cgroup(name=f"{made[-1].path[1:]}/n"))
    victim = run.victim("hog", made[-1]).go()
    run.equal("status", victim.end(), -signal.SIGKILL)
    (line,) = run.kills([victim.pid])
    run.equal("victim's cgroup", at(line, "cgroup.path"), made[-1].path)
    run.equal("domain", at(line, "oom.memcg.path"), made[0].path)
    run.equal("limit", at(line, "oom.memcg.limit"), 32 << 20)
    run.equal("trigger's cgroup", at(line, "oom.trigger.cgroup"), made[-1].path)
    run.equal("candidates' cgroups", [each["cgroup"] for each in at(line, "oom.candidates")], [made[-1].path])
