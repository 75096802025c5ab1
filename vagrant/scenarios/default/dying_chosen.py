# SPDX-License-Identifier: Apache-2.0
"""The OOM killer chooses a process that was sent SIGKILL a moment before: it marks it, and kills no process.

One real-time process sends SIGKILL to the biggest process of the cgroup and exceeds the limit at once. On the only CPU
that both may use, the biggest process cannot run before, so that it still has all its memory.
"""

import os
import signal

from _dying import check_dying, wait_for_dying
from _scenario import scenario
from _tolerances import at
from _tracefs import marks

GROW = """
import os, signal
os.sched_setaffinity(0, {{0}})
os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))
os.kill({pid}, signal.SIGKILL)
bytearray({megabytes} << 20)
print("grown")
"""

with scenario() as run, marks() as marked:
    limited = run.cgroup(48)
    biggest = run.victim("hold", limited, 30)
    os.sched_setaffinity(biggest.pid, {0})
    run.equal("holder", biggest.go().said(), "holding")
    grower = run.python(f"exec({GROW.format(pid=biggest.pid, megabytes=24)!r})", limited)
    said, _ = grower.communicate()
    run.equal("grower", (said, grower.returncode), (b"grown\n", 0))
    run.equal("status", biggest.end(), -signal.SIGKILL)
    run.equal("memory.events oom_kill", limited.oom_kills(), 0)
    run.kills([])
    tids = [tid for tid in marked() if tid == biggest.pid]
    run.true("marked", tids)
    for tracer in (run.full, run.tracers.get("reduced", run.full)):
        found = check_dying(wait_for_dying(tracer, len(tids)), tids, biggest.pid, run.equal)
        for line in found:
            run.equal("trigger", at(line, "oom.trigger.pid"), grower.pid)
            run.equal("cgroup", at(line, "cgroup.path"), limited.path)
            run.equal("memcg", at(line, "oom.memcg.path"), limited.path)
    run.show(found)
