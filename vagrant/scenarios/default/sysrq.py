# SPDX-License-Identifier: Apache-2.0
"""A kill is requested with sysrq-f: the biggest process dies, although memory is free."""

import signal
from pathlib import Path

from _scenario import scenario
from _tolerances import at

with scenario() as run:
    biggest = run.victim("hold", run.cgroup(), 300).go()
    run.equal("biggest", biggest.said(), "holding")
    Path("/proc/sysrq-trigger").write_text("f")
    run.equal("status", biggest.end(), -signal.SIGKILL)
    (line,) = run.kills([biggest.pid])
    run.equal("verdict", at(line, "oom.verdict"), "killed")
    run.equal("scope", at(line, "oom.scope"), "sysrq")
    run.equal("order", at(line, "oom.order"), -1)
    run.equal("no memcg", at(line, "oom.memcg"), None)
    run.true("trigger", at(line, "oom.trigger.comm").startswith("kworker"))
