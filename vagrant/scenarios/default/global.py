# SPDX-License-Identifier: Apache-2.0
"""The whole machine is out of memory."""

import signal

from _checks import check_identity
from _scenario import GROW, scenario
from _tolerances import at

from ooMtrace.kernel.snapshot import take_snapshot

with scenario() as run:
    machine = take_snapshot()
    cgroup = run.cgroup()
    grower = run.python(GROW.format(megabytes=4096), cgroup)
    run.equal("status", grower.wait(), -signal.SIGKILL)
    (line,) = run.kills([grower.pid])
    check_identity(line, grower.pid, run.equal)
    run.equal("verdict", at(line, "oom.verdict"), "killed")
    run.equal("scope", at(line, "oom.scope"), "global")
    run.equal("constraint", at(line, "oom.constraint"), "CONSTRAINT_NONE")
    run.equal("no memcg", at(line, "oom.memcg"), None)
    run.equal("memcg is not listed as missing", [name for name in line["missing"] if "memcg" in name], [])
    run.equal("cgroup", at(line, "cgroup.path"), cgroup.path)
    run.equal("limit", at(line, "oom.limit_bytes"), ((machine.ram or 0) + (machine.swap or 0)) * machine.page_size)
    run.true("message", "the host is out of memory" in line["message"])
