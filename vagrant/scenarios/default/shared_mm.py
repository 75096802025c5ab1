# SPDX-License-Identifier: Apache-2.0
"""Two processes with one memory: the kernel kills both, and mentions and counts one."""

import signal

from _checks import at, check_form
from _stage import stage

with stage() as on:
    first = on.victim("sharer", on.cgroup(24)).go()
    pids = {first.pid, int(first.said())}
    on.equal("status", first.end(), -signal.SIGKILL)
    logged = {kill.pid for report in on.reports() for kill in report.kills} & pids
    silent = pids - logged
    on.equal("logged", len(logged), 1)
    lines = on.kills(sorted(pids), silent=silent)
    on.equal("incidents", len({line["oom"]["incident"] for line in lines}), 1)
    on.equal("ids", len({line["id"] for line in lines}), 2)
    for line in lines:
        check_form(line, on.equal)
        verdict = "killed" if line["process"]["pid"] in logged else "shared_mm"
        on.equal("verdict", at(line, "oom.verdict"), verdict)
