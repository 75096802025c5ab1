# SPDX-License-Identifier: Apache-2.0
"""A process at its limit that was already dying: the OOM killer may mark it, and kills no process."""

import signal

from _dying import check_dying, wait_for_dying
from _scenario import scenario
from _tracefs import marks

with scenario() as run, marks() as marked:
    limited = run.cgroup(24)
    victim = run.victim("dying", limited, 20).go()
    run.equal("status", victim.end(), -signal.SIGKILL)
    run.equal("memory.events oom_kill", limited.oom_kills(), 0)
    run.kills([])
    # Kernels from 5.10 to 6.12 mostly refuse the allocation of a dying task before they mark it.
    tids = [tid for tid in marked() if tid == victim.pid]
    print(f"marked {len(tids)} times")
    check_dying(wait_for_dying(run.full, len(tids)), tids, victim.pid, run.equal)
