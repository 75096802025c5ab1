# SPDX-License-Identifier: Apache-2.0
"""Two processes with one memory: the kernel kills both, but logs and counts only one."""

import signal

from _checks import check_form
from _scenario import scenario
from _tolerances import at

with scenario() as run:
    first = run.victim("sharer", run.cgroup(24)).go()
    pids = {first.pid, int(first.said())}
    run.equal("status", first.end(), -signal.SIGKILL)
    logged = {kill.pid for report in run.reports() for kill in report.kills} & pids
    silent = pids - logged
    run.equal("logged", len(logged), 1)
    lines = run.kills(sorted(pids), silent=silent)
    run.equal("incidents", len({line["oom"]["incident"] for line in lines}), 1)
    run.equal("ids", len({line["id"] for line in lines}), 2)
    for line in lines:
        check_form(line, run.equal)
        verdict = "killed" if line["process"]["pid"] in logged else "shared_mm"
        run.equal("verdict", at(line, "oom.verdict"), verdict)
