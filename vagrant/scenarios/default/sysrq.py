# SPDX-License-Identifier: Apache-2.0
"""Somebody asks for a kill with sysrq-f: the biggest process dies, though nothing was lacking."""

import signal
from pathlib import Path

from _checks import at
from _stage import stage

with stage() as on:
    biggest = on.victim("hold", on.cgroup(), 300).go()
    on.equal("biggest", biggest.said(), "holding")
    Path("/proc/sysrq-trigger").write_text("f")
    on.equal("status", biggest.end(), -signal.SIGKILL)
    (line,) = on.kills([biggest.pid])
    on.equal("verdict", at(line, "oom.verdict"), "killed")
    on.equal("scope", at(line, "oom.scope"), "sysrq")
    on.equal("order", at(line, "oom.order"), -1)
    on.equal("no memcg", at(line, "oom.memcg"), None)
    on.true("trigger", at(line, "oom.trigger.comm").startswith("kworker"))
