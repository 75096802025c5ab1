# SPDX-License-Identifier: Apache-2.0
"""A parser for the kernel log's OOM reports, independent of the product's."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from support.witness import KILLED, LoggedKill, logged_kill

PAGE = os.sysconf("SC_PAGE_SIZE")
UNKILLABLE = -1000
INVOKED = re.compile(
    r"^(?P<comm>.*) invoked oom-killer: gfp_mask=(?P<raw>0x[0-9a-f]+)\((?P<flags>.*)\), order=(?P<order>-?\d+), "
)
SUMMARY = re.compile(
    r"^oom-kill:constraint=(?P<constraint>\w+),.*,(?:global_oom|oom_memcg=(?P<oom_memcg>.*)),"
    r"task_memcg=(?P<task_memcg>.*),task=.*,pid=(?P<pid>\d+),uid=\d+"
)
RUNNING = re.compile(r"\bCPU: \d+ (?:UID: \d+ )?PID: (?P<tid>\d+) Comm: ")
"""The beginning of the trigger's stack: `PID` is the thread's id."""
COUNTER = re.compile(r"^(?P<name>memory|swap): usage (?P<usage>\d+)kB, limit (?P<limit>\d+)kB, failcnt \d+$")
# Linux 6.8 put the parts of rss between rss and pgtables_bytes.
TASK = re.compile(
    r"^\[\s*(?P<pid>\d+)\]\s+\d+\s+(?P<tgid>\d+)\s+\d+\s+(?P<rss>\d+)(?:\s+\d+\s+\d+\s+\d+)?\s+(?P<tables>\d+)\s+"
    r"(?P<swap>\d+)\s+(?P<adj>-?\d+) (?P<comm>.*)$"
)


@dataclass
class Task:
    """A row of the table of tasks; sizes in pages."""

    tgid: int
    rss: int
    swap: int
    page_tables: int
    adj: int
    comm: str

    @property
    def size(self) -> int:
        """All that counts for the points, except the adjustment."""
        return self.rss + self.swap + self.page_tables

    def points(self, totalpages: int) -> int:
        """oom_badness()."""
        return self.size + self.adj * (totalpages // 1000)


@dataclass
class Counter:
    """A counter of the cgroup that is out of memory; bytes."""

    usage: int
    limit: int


@dataclass
class Report:
    """Everything that the kernel printed about one OOM."""

    comm: str
    gfp_mask: int
    gfp_flags: set[str]
    order: int
    trigger: int | None = None
    constraint: str = ""
    chosen: int = 0
    oom_memcg: str | None = None
    task_memcg: str | None = None
    memory: Counter | None = None
    swap: Counter | None = None
    tasks: dict[int, Task] = field(default_factory=dict)
    kills: list[LoggedKill] = field(default_factory=list)

    def totalpages(self, swap_total: int) -> int | None:
        """Return what the badness is relative to (constrained_alloc()); None: the log does not show it.

        Args:
            swap_total: All swap that the machine has, in bytes.
        """
        if not self.memory:
            return None
        swap = min(self.swap.limit if self.swap else swap_total, swap_total)
        return (self.memory.limit + swap) // PAGE


def reports(lines: Iterable[str]) -> list[Report]:
    """Read the log; a group's first victim is in `kills` twice, as the kernel kills it twice."""
    found: list[Report] = []
    for line in lines:
        if match := INVOKED.search(line):
            flags = set(match["flags"].split("|"))
            found.append(Report(match["comm"], int(match["raw"], 16), flags, int(match["order"])))
        elif not found:
            continue
        elif found[-1].trigger is None and (match := RUNNING.search(line)):
            found[-1].trigger = int(match["tid"])
        elif match := TASK.search(line):
            sizes = int(match["rss"]), int(match["swap"]), int(match["tables"]) // PAGE
            task = Task(int(match["tgid"]), *sizes, int(match["adj"]), match["comm"])
            found[-1].tasks[task.tgid] = task
        elif match := SUMMARY.search(line):
            report = found[-1]
            report.constraint, report.chosen = match["constraint"], int(match["pid"])
            report.oom_memcg, report.task_memcg = match["oom_memcg"], match["task_memcg"]
        elif match := COUNTER.search(line):
            setattr(found[-1], match["name"], Counter(int(match["usage"]) * 1024, int(match["limit"]) * 1024))
        elif match := KILLED.search(line):
            found[-1].kills.append(logged_kill(match))
    return found
