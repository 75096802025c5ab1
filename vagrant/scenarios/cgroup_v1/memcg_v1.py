# SPDX-License-Identifier: Apache-2.0
"""Version 1 of cgroups: one process after another passes the limit, the second below a parent whose limit it is."""

import signal

from _checks import at, check_identity
from _stage import stage

with stage() as on:
    parent = on.cgroup(24)
    hierarchical = parent.folder / "memory.use_hierarchy"  # gone with 5.11; systemd sets it at the root
    hierarchical.write_text("1")
    child = on.cgroup(name=f"{parent.path[1:]}/child")
    pids = []
    for cgroup in (parent, child):
        one = on.victim("mixed", cgroup, uid=1000, adj=300).go()
        on.equal("status", one.end(), -signal.SIGKILL)
        pids.append(one.pid)
    lines = on.kills(pids)
    for line, pid, own in zip(lines, pids, (parent, child), strict=True):
        check_identity(line, pid, on.equal)
        on.equal("verdict", at(line, "oom.verdict"), "killed")
        on.equal("scope", at(line, "oom.scope"), "memcg")
        on.equal("limit", at(line, "oom.limit_bytes"), 24 << 20)
        on.equal("memcg", at(line, "oom.memcg.path"), parent.path)
        on.equal("memcg version", at(line, "oom.memcg.version"), 1)
        on.equal("memcg limit", at(line, "oom.memcg.limit"), 24 << 20)
        on.equal("memcg id", at(line, "oom.memcg.id"), str(parent.folder.stat().st_ino))
        on.equal("cgroup", at(line, "cgroup.path"), own.path)
        on.equal("cgroup version", at(line, "cgroup.version"), 1)
        on.equal("no group", at(line, "oom.group"), None)
