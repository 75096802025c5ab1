# SPDX-License-Identifier: Apache-2.0
"""A process at its limit that was already dying: the OOM killer may mark it, and kills nobody."""

import signal

from _checks import at, check_form
from _stage import stage
from _tracefs import marks

with stage() as on, marks() as marked:
    limited = on.cgroup(24)
    one = on.victim("dying", limited, 20).go()
    on.equal("status", one.end(), -signal.SIGKILL)
    on.equal("memory.events oom_kill", limited.oom_kills(), 0)
    on.kills([])
    # Kernels from 5.10 to 6.12 mostly turn a dying task away before they mark it.
    tids = [tid for tid in marked() if tid == one.pid]
    print(f"marked {len(tids)} times")
    lines = [line for line in on.full.lines() if line["event"] == "oom_dying"]
    on.equal("dying", [at(line, "process.tid") for line in lines], tids)
    for line in lines:
        check_form(line, on.equal)
        on.equal("pid", at(line, "process.pid"), one.pid)
        on.equal("severity", line["severity"], "INFO")
        on.equal("no verdict", at(line, "oom.verdict"), None)
