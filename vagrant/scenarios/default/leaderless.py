# SPDX-License-Identifier: Apache-2.0
"""The first thread has exited, and another one runs out of memory: the line names their process."""

import signal
import time

from _scenario import scenario
from _tolerances import at

with scenario() as run:
    victim = run.victim("leaderless", run.cgroup(24))
    time.sleep(1)  # the thread starts much later than the process
    victim.go()
    run.equal("status", victim.end(), -signal.SIGKILL)
    (line,) = run.kills([victim.pid])
    run.equal("pid", at(line, "process.pid"), victim.pid)
    run.true("another thread", at(line, "process.tid") != victim.pid)
    run.equal("the trigger is that process, too", at(line, "oom.trigger.pid"), victim.pid)
    run.equal("triggered by its own thread", at(line, "oom.trigger.tid"), at(line, "process.tid"))
    run.true("memory", at(line, "process.memory.anon") > 16 << 20)
