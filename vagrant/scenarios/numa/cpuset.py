# SPDX-License-Identifier: Apache-2.0
"""A process that a cpuset confines to one memory node fills that node."""

import signal
from pathlib import Path

from _scenario import GROW, scenario
from _tolerances import at

NODE = Path("/sys/devices/system/node/node1/meminfo")

with scenario() as run:
    node = int(NODE.read_text().split("MemTotal:")[1].split()[0]) * 1024
    confined = run.cgroup()
    (confined.folder / "cpuset.mems").write_text("1")
    victim = run.python(GROW.format(megabytes=700), confined)
    run.equal("status", victim.wait(), -signal.SIGKILL)
    (line,) = run.kills([victim.pid])
    run.equal("scope", at(line, "oom.scope"), "cpuset")
    run.equal("constraint", at(line, "oom.constraint"), "CONSTRAINT_CPUSET")
    run.equal("no memcg", at(line, "oom.memcg"), None)
    # the kernel counts the pages present, slightly more than those it manages
    run.true("limit", node <= at(line, "oom.limit_bytes") <= 512 << 20)
