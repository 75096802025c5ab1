# SPDX-License-Identifier: Apache-2.0
"""The first thread has exited, and one that is left runs out of memory: its process is what dies."""

import signal

from _checks import at
from _stage import stage

with stage() as on:
    one = on.victim("leaderless", on.cgroup(24)).go()
    on.equal("status", one.end(), -signal.SIGKILL)
    (line,) = on.kills([one.pid])
    on.equal("pid", at(line, "process.pid"), one.pid)
    on.true("another thread", at(line, "process.tid") != one.pid)
    on.true("memory", at(line, "process.memory.anon") > 16 << 20)
