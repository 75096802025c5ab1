# SPDX-License-Identifier: Apache-2.0
"""What a report of the OOM killer consists of. Sizes are as the kernel prints them: kilobytes or pages."""

from __future__ import annotations

from dataclasses import dataclass, field

from ooMtrace.kmsg.formats import LogLine
from ooMtrace.kmsg.grammar import Summary, TaskIn
from ooMtrace.kmsg.memcg_stat import MemcgStat
from ooMtrace.kmsg.task_table import Table
from ooMtrace.record import NoKillReason

SYSRQ_ORDER = -1
"""The order in the header when sysrq f asked for a kill: moom_callback()."""

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
    """One killed process.

    Attributes:
        pid: What the kernel prints: the thread id of the first thread that still had memory (find_lock_task_mm()).
        reason: How the line begins, as `Memory cgroup out of memory`; until 5.0 it stood in the line before.
        size: Kilobytes by the names of SIZES.
        sharing: Killed because it shared the victim's memory; the kernel does not count such kills.
        unconfirmed: The kernel chose it, but the log has no line of the kill; `line` is that of the choice.
    """

    line: LogLine
    pid: int
    comm: str | None
    reason: str | None
    size: dict[str, int]
    uid: int | None
    oom_score_adj: int | None
    sharing: bool = False
    unconfirmed: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """The process that was chosen, until 5.0 in a line of its own; a child may be killed instead.

    Attributes:
        score: Badness in thousandths of `totalpages`.
    """

    pid: int
    comm: str
    reason: str
    score: int | None = None


@dataclass(frozen=True, slots=True)
class NoKill:
    """The line that says that nothing was killed, and why."""

    line: LogLine
    reason: NoKillReason


@dataclass(slots=True)
class Trigger:
    """The task whose allocation failed, and its kernel."""

    header: Header | None = None
    tid: int | None = None
    cpuset: str | None = None
    mems_allowed: str | None = None
    kernel: str | None = None


@dataclass(slots=True)
class MemoryState:
    """What the kernel printed about memory.

    Attributes:
        counters: Usage and limit of a memory cgroup in kilobytes, by the counter's name.
        limited_memcg: The cgroup at its limit, in the sentence for an OOM without a victim.
        stats_memcg: The cgroup whose statistics were printed first: the one that is out of memory.
        stat: Those statistics.
        multiline_stats: Whether `Memory cgroup stats` spread over several lines, as from 5.3 on.
        has_mem_info: Whether the memory of the host was printed (Mem-Info), as it is not for a memory cgroup.
        page: Size of a page in bytes, from the list of free blocks of the host.
        pages: Pages of the host by kind.
        total_swap: Kilobytes.
    """

    counters: dict[str, tuple[int, int]] = field(default_factory=dict)
    limited_memcg: str | None = None
    stats_memcg: str | None = None
    stat: MemcgStat = field(default_factory=MemcgStat)
    multiline_stats: bool = False
    has_mem_info: bool = False
    page: int | None = None
    pages: dict[str, int] = field(default_factory=dict)
    total_swap: int | None = None


@dataclass(slots=True)
class Selection:
    """Who was to die and which memory cgroup was at its limit, in the sentences of the different kernels.

    Attributes:
        line: The last line that named the victim.
    """

    task_in: TaskIn | None = None
    choice: Choice | None = None
    summary: Summary | None = None
    line: LogLine | None = None

    @property
    def oom_memcg(self) -> str | None:
        """The memory cgroup at its limit."""
        if self.summary and self.summary.oom_memcg:
            return self.summary.oom_memcg
        return self.task_in.oom_memcg if self.task_in else None

    @property
    def of_memcg(self) -> bool | None:
        """Whether a memory cgroup was out of memory; None without a summary."""
        if self.summary is None:
            return None
        return self.summary.names_memcg or self.summary.constraint == "CONSTRAINT_MEMCG"


@dataclass(slots=True)
class Report:
    """All that the kernel printed about one OOM, as far as the log has it.

    Attributes:
        start: The first line.
        table: The candidates.
        kills: In the order of the log; the first is the chosen victim.
        killed_pids: The pids of those killed by the OOM killer itself, not of those that shared memory.
        no_kill: How the report ends if nothing was killed.
        group: The cgroup all of whose tasks are killed (memory.oom.group).
        repeat_kills: Ordinals (LogLine.nth) of kills that hit a victim again, as a group kill does with the first one.
        last_nth: Ordinal of the latest kill; 0: none is counted.
        after_incomplete: The report before had no kill: what follows may belong to that one.
        interleaved: Lines of two reports are mixed: only the kills themselves can be relied on.
    """

    start: LogLine
    trigger: Trigger = field(default_factory=Trigger)
    memory: MemoryState = field(default_factory=MemoryState)
    selection: Selection = field(default_factory=Selection)
    table: Table | None = None
    kills: list[Killed] = field(default_factory=list)
    killed_pids: set[int] = field(default_factory=set)
    no_kill: NoKill | None = None
    group: str | None = None
    repeat_kills: list[int] = field(default_factory=list)
    last_nth: int = 0
    after_incomplete: bool = False
    interleaved: bool = False

    @property
    def size(self) -> int:
        """Lines that are kept: rows and kills, of which a log can have any number."""
        rows = len(self.table.rows) if self.table else 0
        return rows + len(self.kills) + len(self.repeat_kills)

    def add_kill(self, killed: Killed) -> None:
        """Add a kill of the OOM killer; a group's first victim is killed twice."""
        self.last_nth = killed.line.nth
        if killed.pid in self.killed_pids:
            self.repeat_kills.append(killed.line.nth)
        else:
            self.kills.append(killed)
            self.killed_pids.add(killed.pid)

    def contradicts_itself(self) -> bool:
        """Return whether the parts cannot all be about one OOM."""
        selection, memory, header = self.selection, self.memory, self.trigger.header
        if selection.oom_memcg and memory.stats_memcg and selection.oom_memcg != memory.stats_memcg:
            return True
        if selection.summary is None:
            return False
        if header is not None and header.order == SYSRQ_ORDER and selection.summary.constraint != "CONSTRAINT_NONE":
            return True
        return memory.has_mem_info if selection.of_memcg else bool(memory.counters)
