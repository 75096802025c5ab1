# SPDX-License-Identifier: Apache-2.0
"""What a report is made of. Numbers are as the kernel prints them: kilobytes and pages."""

from __future__ import annotations

from dataclasses import dataclass, field

from ooMtrace.kmsg.formats import LogLine
from ooMtrace.kmsg.grammar import Summary
from ooMtrace.kmsg.task_table import Table

SYSRQ_ORDER = -1
"""moom_callback()."""

SIZES = ("total_vm", "anon", "file", "shmem", "page_tables")


@dataclass(frozen=True, slots=True)
class Header:
    """`X invoked oom-killer`."""

    comm: str
    gfp_mask: str
    gfp_flags: tuple[str, ...] | None
    order: int
    nodemask: str | None


@dataclass(frozen=True, slots=True)
class Killed:
    """One killed process; `size` in kilobytes by the names of SIZES."""

    line: LogLine
    number: int
    comm: str
    why: str | None
    size: dict[str, int]
    uid: int | None
    oom_score_adj: int | None
    sharing: bool = False


@dataclass(slots=True)
class Report:
    """All that the kernel printed about one OOM, as far as it is there.

    Attributes:
        suspect: The report before it had no end: what follows may be its rest.
        mixed: Two reports ran into each other: nothing but the kills themselves can be believed.
        whole_host: Whether the memory of the machine was printed (Mem-Info), as not for a memory cgroup.
        stats_of: The cgroup whose statistics were printed first: the one that is out of memory.
        again: Which kills of the log came to a victim a second time, as those of a group do to its first.
        last: The last line that belonged to it; `quiet` and `heard`: lines since then, and the clock of the last one.
        dead: The numbers of those killed.
        stats: Whether `Memory cgroup stats` were spread over lines, as from 5.3 on.
    """

    start: LogLine
    header: Header | None = None
    cpuset: tuple[str, str] | None = None
    trigger_tid: int | None = None
    kernel: str | None = None
    usage: dict[str, tuple[int, int]] = field(default_factory=dict)
    whole_host: bool = False
    stats_of: str | None = None
    stats: bool = False
    pages: dict[str, int] = field(default_factory=dict)
    total_swap: int | None = None
    task_in: tuple[str, str] | None = None
    table: Table | None = None
    summary: Summary | None = None
    chosen: tuple[int, str] | None = None
    kills: list[Killed] = field(default_factory=list)
    dead: set[int] = field(default_factory=set)
    group: str | None = None
    again: list[int] = field(default_factory=list)
    suspect: bool = False
    mixed: bool = False
    last: LogLine | None = None
    quiet: int = 0
    heard: int | None = None
