# SPDX-License-Identifier: Apache-2.0
"""One process after another exceeds its cgroup's limit."""

import signal

from _checks import check_identity
from _log import PAGE
from _scenario import scenario
from _tolerances import at, near, tracepoint_slack

from ooMtrace.kernel.scratch_cgroup import ScratchCgroup

HIGH = 32 << 20
"""Never reached, and so without effect."""

EVENTS = {"high": 0, "max": 1, "oom": 1, "oom_kill": 1}
"""How often each happens at least from one kill to the next."""


def events(cgroup: ScratchCgroup) -> dict[str, int]:
    """Return the counters of memory.events."""
    rows = (cgroup.folder / "memory.events").read_text().splitlines()
    return {name: int(count) for name, count in (row.split() for row in rows)}


with scenario() as run:
    limited = run.cgroup(24)
    (limited.folder / "memory.high").write_text(str(HIGH))
    pids, counts = [], [events(limited)]
    for mode, uid, adj in (("mixed", 1000, 300), ("hog", 0, 0)):
        victim = run.victim(mode, limited, uid=uid, adj=adj).go()
        run.equal("status", victim.end(), -signal.SIGKILL)
        pids.append(victim.pid)
        counts.append(events(limited))
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
        run.equal("memcg high", at(line, "oom.memcg.high"), HIGH)
        for name, least in EVENTS.items():
            # the victim may still reach the limit while it dies
            before, after = (count[name] for count in counts[i : i + 2])
            run.true(f"memory.events {name}", before + least <= at(line, f"oom.memcg.events.{name}") <= after)
        run.equal("no group kill", at(line, "oom.memcg.events.oom_group_kill") or 0, 0)
    # the second has only grown; a peak may be of three counters that do not add up those of single CPUs
    rss, few = at(lines[-1], "oom.points.rss") * PAGE, 3 * tracepoint_slack(lines[-1]) * PAGE
    run.equal("peak", near(at(lines[-1], "process.memory.peak_rss"), rss, few), rss)
    run.true("shared memory", at(lines[0], "process.memory.shmem"))
    for name in ("oom", "oom_kill"):
        run.equal(f"memory.events {name}", at(lines[-1], f"oom.memcg.events.{name}"), counts[-1][name])
    peak = limited.folder / "memory.peak"
    if peak.exists():
        run.equal("peak", at(lines[-1], "oom.memcg.peak"), int(peak.read_text()))
