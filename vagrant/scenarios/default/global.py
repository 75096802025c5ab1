# SPDX-License-Identifier: Apache-2.0
"""The whole machine is out of memory."""

import signal

from _checks import at, check_identity
from _stage import GROW, stage

from ooMtrace.kernel.snapshot import take_snapshot

with stage() as on:
    machine = take_snapshot()
    cgroup = on.cgroup()
    grower = on.python(GROW.format(megabytes=4096), cgroup)
    on.equal("status", grower.wait(), -signal.SIGKILL)
    (line,) = on.kills([grower.pid])
    check_identity(line, grower.pid, on.equal)
    on.equal("verdict", at(line, "oom.verdict"), "killed")
    on.equal("scope", at(line, "oom.scope"), "global")
    on.equal("constraint", at(line, "oom.constraint"), "CONSTRAINT_NONE")
    on.equal("no memcg", at(line, "oom.memcg"), None)
    on.equal("memcg is not missed", [name for name in line["missing"] if "memcg" in name], [])
    on.equal("cgroup", at(line, "cgroup.path"), cgroup.path)
    on.equal("limit", at(line, "oom.limit_bytes"), ((machine.ram or 0) + (machine.swap or 0)) * machine.page_size)
    on.true("said so", "the host is out of memory" in line["message"])
