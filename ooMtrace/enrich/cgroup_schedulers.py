# SPDX-License-Identifier: Apache-2.0
"""What the path of a cgroup says about batch systems and orchestrators other than Kubernetes. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from ooMtrace.enrich import cgroup_names as names
from ooMtrace.enrich.cgroup_names import unescape
from ooMtrace.record import LimitOwner, Scheduler

SlurmLevel = Literal["users", "jobs", "steps", "tasks"]
"""What comes next in a path of Slurm's."""


class SchedulerPath:
    """The components of a path, from the root inwards.

    Attributes:
        found: What the components so far say.
    """

    def __init__(self) -> None:
        self.found: Scheduler | None = None
        self._slurm: SlurmLevel | None = None
        self._ecs_depth: int | None = None

    def enter(self, name: str, previous: str, depth: int, *, is_unit: bool) -> LimitOwner | None:
        """Take a component; not one below a user's own systemd, where the user may choose any name.

        Args:
            name: The component.
            previous: The one before it.
            depth: How many components are between it and the root, or the container that it is in.
            is_unit: Whether it is a unit of systemd's.
        """
        found = self._enter_slurm(name, depth, is_unit=is_unit) or self._condor(name) or self._nomad(name, previous)
        found = found or self._ecs(name, depth)
        if found is None:
            return None
        self.found = found
        return "job"

    def _enter_slurm(self, name: str, depth: int, *, is_unit: bool) -> Scheduler | None:
        """Take a component of job_ID/step_STEP/user/task_N, below slurmstepd's scope or uid_N of version 1."""
        level, self._slurm = self._slurm, None
        if is_unit and names.SLURM_SCOPE.fullmatch(name):
            self._slurm = "jobs"
        elif depth == 0 and names.SLURM_V1.fullmatch(name):
            self._slurm = "users"
        elif level == "users" and names.SLURM_USER.fullmatch(name):
            self._slurm = "jobs"
        elif level == "jobs" and (job := names.SLURM_JOB.fullmatch(name)):
            self._slurm = "steps"
            return Scheduler(system="slurm", id=job["id"] or job["sluid"])
        elif self.found and level == "steps" and (step := names.SLURM_STEP.fullmatch(name)):
            self._slurm = "tasks"
            return replace(self.found, step=step["step"])
        elif self.found and level == "tasks" and name in ("user", "slurm"):
            self._slurm = "tasks"
            return self.found
        elif self.found and level == "tasks" and (task := names.SLURM_TASK.fullmatch(name)):
            return replace(self.found, task=task["task"])
        return None

    def _condor(self, name: str) -> Scheduler | None:
        found = names.CONDOR.fullmatch(name)
        return Scheduler(system="htcondor", slot=found["slot"]) if found else None

    def _nomad(self, name: str, previous: str) -> Scheduler | None:
        found = names.NOMAD.fullmatch(name) if previous in names.NOMAD_PARENTS else None
        return Scheduler(system="nomad", id=found["id"], task=unescape(found["task"])) if found else None

    def _ecs(self, name: str, depth: int) -> Scheduler | None:
        """Recognize /ecs/TASK, /ecs/CLUSTER/TASK and ecstasks-TASK.slice."""
        if found := names.ECS_SLICE.fullmatch(name):
            return Scheduler(system="ecs", id=found["id"])
        if depth == 0:
            self._ecs_depth = 2 if name == "ecs" else None
        elif self._ecs_depth is not None and depth <= self._ecs_depth and names.ECS_TASK.fullmatch(name):
            self._ecs_depth = None
            return Scheduler(system="ecs", id=name)
        return None
