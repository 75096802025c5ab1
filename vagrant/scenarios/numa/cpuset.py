# SPDX-License-Identifier: Apache-2.0
"""A process that its cpuset confines to one memory node fills that one."""

import signal
from pathlib import Path

from _checks import at
from _stage import GROW, stage

NODE = Path("/sys/devices/system/node/node1/meminfo")

with stage() as on:
    node = int(NODE.read_text().split("MemTotal:")[1].split()[0]) * 1024
    confined = on.cgroup()
    (confined.folder / "cpuset.mems").write_text("1")
    one = on.python(GROW.format(megabytes=700), confined)
    on.equal("status", one.wait(), -signal.SIGKILL)
    (line,) = on.kills([one.pid])
    on.equal("scope", at(line, "oom.scope"), "cpuset")
    on.equal("constraint", at(line, "oom.constraint"), "CONSTRAINT_CPUSET")
    on.equal("no memcg", at(line, "oom.memcg"), None)
    # the kernel means what is present, which is a little more than what it hands out
    on.true("limit", node <= at(line, "oom.limit_bytes") <= 512 << 20)
