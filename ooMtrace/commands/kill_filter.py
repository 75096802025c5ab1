# SPDX-License-Identifier: Apache-2.0
"""Which kills the options of `oomtrace logs` select."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Literal

from ooMtrace.errors import UsageError
from ooMtrace.record import OomKill, OomNoKill, Process, Trigger

COMM_BYTES = 15
"""TASK_COMM_LEN without its NUL: the kernel cuts longer names."""

Choice = Literal["selected", "other", "unknown"]


@dataclass(frozen=True, slots=True)
class KillFilter:
    """Selects the kills that satisfy every option; an option that is None selects all.

    Attributes:
        since: No earlier kill.
        until: No later kill.
        process: The victim's name, which may have wildcards, or its process or thread id; of an OOM without a kill
            that of the task whose allocation failed.
        cgroup: The victim's cgroup, or the one whose limit it hit, is this one or below it.
    """

    since: datetime | None = None
    until: datetime | None = None
    process: str | None = None
    cgroup: str | None = None

    @property
    def is_active(self) -> bool:
        """Whether any option was given."""
        return self != KillFilter()

    def choose(self, kill: OomKill | OomNoKill) -> Choice:
        """Say whether a kill is selected; `unknown`: the log does not state what an option asks for."""
        if self.process is not None and not _is_process(kill, self.process):
            return "other"
        choices = (_choose_by_time(kill, self.since, self.until), _choose_by_cgroup(kill, self.cgroup))
        return "other" if "other" in choices else "unknown" if "unknown" in choices else "selected"


def kill_filter(arguments: Namespace) -> KillFilter:
    """Return the filter that the options stand for.

    Raises:
        UsageError: They contradict each other.
    """
    since, until = arguments.since, arguments.until
    if since and until and since > until:
        raise UsageError("--since is later than --until", "exchange them")
    return KillFilter(since, until, arguments.process, arguments.cgroup)


def _is_process(kill: OomKill | OomNoKill, process: str) -> bool:
    task: Process | Trigger | None = kill.process if isinstance(kill, OomKill) else kill.oom.trigger
    if task is None:
        return False
    if process.isascii() and process.isdecimal() and int(process) in (task.pid, task.tid):
        return True
    comm = task.comm or ""
    return comm == _cut(process) or fnmatchcase(comm, process)


def _cut(name: str) -> str:
    return name.encode("utf-8", "surrogateescape")[:COMM_BYTES].decode("utf-8", "backslashreplace")


def _choose_by_time(kill: OomKill | OomNoKill, since: datetime | None, until: datetime | None) -> Choice:
    if since is None and until is None:
        return "selected"
    if kill.time is None:
        return "unknown"
    time = datetime.fromisoformat(kill.time.replace("Z", "+00:00"))
    return "other" if (since and time < since) or (until and time > until) else "selected"


def _choose_by_cgroup(kill: OomKill | OomNoKill, cgroup: str | None) -> Choice:
    if cgroup is None:
        return "selected"
    above = f"/{cgroup.strip('/')}"
    paths = list(_cgroups(kill))
    if any(path == above or path.startswith(f"{above.rstrip('/')}/") for path in paths):
        return "selected"
    return "other" if paths else "unknown"


def _cgroups(kill: OomKill | OomNoKill) -> Iterator[str]:
    """Yield the victim's own cgroup and those whose OOM or group kill it died of, as far as they are known."""
    own = kill.cgroup if isinstance(kill, OomKill) else None
    known = (own, kill.oom.group, kill.oom.memcg)
    yield from (part.path for part in known if part is not None and part.path)
