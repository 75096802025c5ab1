# SPDX-License-Identifier: Apache-2.0
"""cgroup v1: one process after another exceeds the limit, the second one that of the parent cgroup."""

import signal

from _checks import check_identity
from _scenario import scenario
from _tolerances import at

with scenario() as run:
    parent = run.cgroup(24)
    hierarchical = parent.folder / "memory.use_hierarchy"  # gone with 5.11; systemd sets it at the root
    hierarchical.write_text("1")
    child = run.cgroup(name=f"{parent.path[1:]}/child")
    pids = []
    for cgroup in (parent, child):
        victim = run.victim("mixed", cgroup, uid=1000, adj=300).go()
        run.equal("status", victim.end(), -signal.SIGKILL)
        pids.append(victim.pid)
    lines = run.kills(pids)
    for line, pid, own in zip(lines, pids, (parent, child), strict=True):
        check_identity(line, pid, run.equal)
        run.equal("verdict", at(line, "oom.verdict"), "killed")
        run.equal("scope", at(line, "oom.scope"), "memcg")
        run.equal("limit", at(line, "oom.limit_bytes"), 24 << 20)
        run.equal("memcg", at(line, "oom.memcg.path"), parent.path)
        run.equal("memcg version", at(line, "oom.memcg.version"), 1)
        run.equal("memcg limit", at(line, "oom.memcg.limit"), 24 << 20)
        run.equal("memcg id", at(line, "oom.memcg.id"), str(parent.folder.stat().st_ino))
        run.equal("cgroup", at(line, "cgroup.path"), own.path)
        run.equal("cgroup version", at(line, "cgroup.version"), 1)
        run.equal("no group", at(line, "oom.group"), None)
