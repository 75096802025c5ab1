# SPDX-License-Identifier: Apache-2.0
"""One process after another passes its cgroup's limit."""

import signal

from _checks import at, check_identity
from _stage import stage

with stage() as on:
    limited = on.cgroup(24)
    pids = []
    for mode, uid, adj in (("mixed", 1000, 300), ("hog", 0, 0)):
        one = on.victim(mode, limited, uid=uid, adj=adj).go()
        on.equal("status", one.end(), -signal.SIGKILL)
        pids.append(one.pid)
    lines = on.kills(pids)
    on.equal("each is an incident of its own", len({line["oom"]["incident"] for line in lines}), 2)
    for i, line in enumerate(lines):
        check_identity(line, pids[i], on.equal)
        on.equal("verdict", at(line, "oom.verdict"), "killed")
        on.equal("scope", at(line, "oom.scope"), "memcg")
        on.equal("limit", at(line, "oom.limit_bytes"), 24 << 20)
        on.equal("memcg", at(line, "oom.memcg.path"), limited.path)
        on.equal("memcg limit", at(line, "oom.memcg.limit"), 24 << 20)
        on.equal("memcg version", at(line, "oom.memcg.version"), limited.version)
        on.equal("memcg id", at(line, "oom.memcg.id"), str(limited.folder.stat().st_ino))
        on.equal("memcg kills", at(line, "oom.memcg.events.oom_kill"), i + 1)
        on.equal("trigger", at(line, "oom.trigger.pid"), pids[i])
        on.equal("derived", line["derived"], [])
    on.true("shared memory", at(lines[0], "process.memory.shmem"))
    events = dict(text.split() for text in (limited.folder / "memory.events").read_text().splitlines())
    for name in ("oom", "oom_kill"):
        on.equal(f"memory.events {name}", at(lines[-1], f"oom.memcg.events.{name}"), int(events[name]))
    peak = limited.folder / "memory.peak"
    if peak.exists():
        on.equal("peak", at(lines[-1], "oom.memcg.peak"), int(peak.read_text()))
