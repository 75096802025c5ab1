# SPDX-License-Identifier: Apache-2.0
"""A process at its limit that was already dying: the OOM killer may mark it, and kills no process."""

import signal

from _checks import check_form
from _scenario import scenario
from _tolerances import at
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
    lines = [line for line in run.full.lines() if line["event"] == "oom_dying"]
    run.equal("dying", [at(line, "process.tid") for line in lines], tids)
    for line in lines:
        check_form(line, run.equal)
        run.equal("pid", at(line, "process.pid"), victim.pid)
        run.equal("severity", line["severity"], "INFO")
        run.equal("no verdict", at(line, "oom.verdict"), None)
