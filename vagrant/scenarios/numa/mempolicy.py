# SPDX-License-Identifier: Apache-2.0
"""A process that binds itself to one memory node fills that node."""

import signal

from _scenario import GROW, scenario
from _tolerances import at

with scenario() as run:
    victim = run.python(GROW.format(megabytes=700), run.cgroup(), wrapper=["numactl", "--membind=1"])
    run.equal("status", victim.wait(), -signal.SIGKILL)
    (line,) = run.kills([victim.pid])
    run.equal("scope", at(line, "oom.scope"), "mempolicy")
    run.equal("constraint", at(line, "oom.constraint"), "CONSTRAINT_MEMORY_POLICY")
    run.equal("no memcg", at(line, "oom.memcg"), None)
    run.true("limit", at(line, "oom.limit_bytes") <= 512 << 20)
