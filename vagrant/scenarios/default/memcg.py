# SPDX-License-Identifier: Apache-2.0
"""One process after another exceeds its cgroup's limit."""

import signal

from _checks import at, check_identity
from _scenario import scenario

with scenario() as run:
    limited = run.cgroup(24)
    # never reached, and so without effect
    (limited.folder / "memory.high").write_text(str(32 << 20))
    pids = []
    for mode, uid, adj in (("mixed", 1000, 300), ("hog", 0, 0)):
        victim = run.victim(mode, limited, uid=uid, adj=adj).go()
        run.equal("status", victim.end(), -signal.SIGKILL)
        pids.append(victim.pid)
    lines = run.kills(pids)
    run.equal("incidents", len({line["oom"]["incident"] for line in lines}), 2)
    for i, line in enumerate(lines):
        check_identity(line, pids[i], run.equal)
        run.equal("verdict", at(line, "oom.verdict"), "killed")
        run.equal("scope", at(line, "oom.scope"), "memcg")
        run.equal("limit", at(line, "oom.limit_bytes"), 24 << 20)
        run.equal("memcg", at(line, "oom.memcg.path"), limited.path)
        run.equal("memcg limit", at(line, "oom.memcg.limit"), 24 << 20)
        run.equal("memcg version", at(line, "oom.memcg.version"), limited.version)
        run.equal("memcg id", at(line, "oom.memcg.id"), str(limited.folder.stat().st_ino))
        run.equal("memcg kills", at(line, "oom.memcg.events.oom_kill"), i + 1)
        run.equal("trigger", at(line, "oom.trigger.pid"), pids[i])
        run.equal("derived", line["derived"], [])
        run.equal("memcg high", at(line, "oom.memcg.high"), 32 << 20)
        run.equal("memory.events high", at(line, "oom.memcg.events.high"), 0)
        run.equal("no group kill", at(line, "oom.memcg.events.oom_group_kill") or 0, 0)
    run.true("shared memory", at(lines[0], "process.memory.shmem"))
    events = dict(text.split() for text in (limited.folder / "memory.events").read_text().splitlines())
    for name in ("oom", "oom_kill"):
        run.equal(f"memory.events {name}", at(lines[-1], f"oom.memcg.events.{name}"), int(events[name]))
    # the victim may still reach the limit while it dies
    run.true("memory.events max", 1 < at(lines[-1], "oom.memcg.events.max") <= int(events["max"]))
    peak = limited.folder / "memory.peak"
    if peak.exists():
        run.equal("peak", at(lines[-1], "oom.memcg.peak"), int(peak.read_text()))
