# SPDX-License-Identifier: Apache-2.0
"""All rules in the order in which they are tried. Data only.

The first rule that matches counts. Titles and arguments come before cgroups and environments, for those are inherited:
a daemon that a CI job has restarted still has the CI's variables. The comm says least and comes last.
"""

from __future__ import annotations

from ooMtrace.enrich.jobs.rule import Rule
from ooMtrace.enrich.jobs.rules_ci import CI_ENVIRONMENTS
from ooMtrace.enrich.jobs.rules_queues import QUEUE_COMMS, QUEUES
from ooMtrace.enrich.jobs.rules_schedulers import SCHEDULER_COMMS, SCHEDULER_ENVIRONMENTS, SCHEDULERS
from ooMtrace.enrich.jobs.rules_servers import SERVER_COMMS, SERVERS

CMDLINES = (*QUEUES, *SERVERS, *SCHEDULERS)
"""By title or arguments; those of Slurm's tasks by the cgroup."""

ENVIRONMENTS = (*SCHEDULER_ENVIRONMENTS, *CI_ENVIRONMENTS)
COMMS = (*QUEUE_COMMS, *SERVER_COMMS, *SCHEDULER_COMMS)

RULES: tuple[Rule, ...] = (*CMDLINES, *ENVIRONMENTS, *COMMS)
