# SPDX-License-Identifier: Apache-2.0
"""A process that binds itself to one memory node fills that one."""

import signal

from _checks import at
from _stage import GROW, stage

with stage() as on:
    one = on.python(GROW.format(megabytes=700), on.cgroup(), wrapper=["numactl", "--membind=1"])
    on.equal("status", one.wait(), -signal.SIGKILL)
    (line,) = on.kills([one.pid])
    on.equal("scope", at(line, "oom.scope"), "mempolicy")
    on.equal("constraint", at(line, "oom.constraint"), "CONSTRAINT_MEMORY_POLICY")
    on.equal("no memcg", at(line, "oom.memcg"), None)
    on.true("limit", at(line, "oom.limit_bytes") <= 512 << 20)
