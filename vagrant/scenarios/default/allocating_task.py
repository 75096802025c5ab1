# SPDX-License-Identifier: Apache-2.0
"""vm.oom_kill_allocating_task: the kernel ranks no process and kills the one that allocates."""

import signal
from mmap import PAGESIZE

from _scenario import GROW, scenario, setting
from _tolerances import at

with scenario() as run, setting("/proc/sys/vm/oom_kill_allocating_task", "1"):
    grower = run.python(GROW.format(megabytes=4096), run.cgroup())
    run.equal("status", grower.wait(), -signal.SIGKILL)
    (line,) = run.kills([grower.pid])
    run.equal("verdict", at(line, "oom.verdict"), "killed")
    run.equal("scope", at(line, "oom.scope"), "global")
    run.equal("trigger", at(line, "oom.trigger.pid"), grower.pid)
    run.true("points", at(line, "oom.points.total") * PAGESIZE > 400 << 20)
    run.equal("derived", line["derived"], ["oom.points"])
