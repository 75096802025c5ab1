# SPDX-License-Identifier: Apache-2.0
"""vm.oom_kill_allocating_task: the kernel weighs nobody and kills whoever asked."""

import signal

from _checks import at
from _stage import GROW, setting, stage

with stage() as on, setting("/proc/sys/vm/oom_kill_allocating_task", "1"):
    grower = on.python(GROW.format(megabytes=4096), on.cgroup())
    on.equal("status", grower.wait(), -signal.SIGKILL)
    (line,) = on.kills([grower.pid])
    on.equal("verdict", at(line, "oom.verdict"), "killed")
    on.equal("scope", at(line, "oom.scope"), "global")
    on.equal("trigger", at(line, "oom.trigger.pid"), grower.pid)
    on.true("points", at(line, "oom.points.total") > 100_000)
    on.equal("derived", line["derived"], ["oom.points"])
