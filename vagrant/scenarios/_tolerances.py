# SPDX-License-Identifier: Apache-2.0
"""By how much two readings of the kernel's counters may differ: the limits follow from how it counts.

With one CPU and one thread everything agrees to the page. The kernel prints, and the probes read, in the trigger's own
context while it holds oom_lock: no other allocation of that cgroup gets further than its failed charge.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from datetime import datetime
from typing import Any

from support.tracer import Line

SLOWDOWN = int(os.environ.get("SLOWDOWN") or 1)
"""How many times as long as on emulated x86-64 anything may take."""

CPUS = os.cpu_count() or 1
UNSYNCED = 64
"""Pages: with several CPUs a victim still runs while it is read. Until 6.2 each of its threads holds back what its last
64 or 65 faults have added to the counters, all of them together (check_sync_rss_stat() and TASK_RSS_EVENTS_THRESH,
mm/memory.c). Since then each CPU holds back less than COUNTER_BATCH of each counter, which is less.
"""
COUNTER_BATCH = 32
"""Pages: the tracepoint's sizes are what percpu_counter_read_positive() returns, which each CPU may be so far ahead of:
percpu_counter_batch, with up to 16 CPUs. 7.3 prints their sums.
"""
CHARGE_BATCH = 64
"""Pages: page_counter_try_charge() adds so many (MEMCG_CHARGE_BATCH; 32 until 6.0) before it finds the limit exceeded
and subtracts them again. A task that was preempted in between shows in the counter, also on one CPU. The trigger itself
has subtracted its own. A cgroup's swap is charged page by page, without a batch.
"""
FREED_LATE = 16
"""Pages: a process that was started in a cgroup has charged its kernel stack (four pages) and what execve() needed to
it. The kernel frees these after a grace period of RCU, and so perhaps between print and probe, on one CPU as well. The
scenarios' own victims start elsewhere.
"""
DYING_S = SLOWDOWN
"""How long a victim may take to free its memory, emulated."""


def at(line: Line, name: str) -> Any:
    """Return the value of a dotted name; None if it is absent."""
    value: Any = line
    for key in name.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def slack(line: Line) -> int:
    """Return by how many pages two readings of a victim's memory may differ.

    One more than it has threads: a thread may hold back a page or two above UNSYNCED.
    """
    return 0 if CPUS == 1 else UNSYNCED * (_threads(line) + 1)


def charge_slack(line: Line, others: int = 0) -> int:
    """Return by how many pages two readings of the usage of the victim's memory cgroup may differ.

    Args:
        line: The victim, whose other threads may be charging.
        others: How many other processes of the cgroup may be.
    """
    freed = FREED_LATE if at(line, "systemd") else 0  # in a unit, processes start and exit
    return freed + max(slack(line), CHARGE_BATCH * (_threads(line) - 1 + others))


def tracepoint_slack(line: Line) -> int:
    """Return by how many pages the sizes in the tracepoint may differ from those that the kernel prints."""
    return max(slack(line), CPUS * COUNTER_BATCH)


def _threads(line: Line) -> int:
    return at(line, "process.threads") or 1


def near(got: int | None, expected: int, by: int) -> int | None:
    """Return `expected` if `got` is within `by` of it, else `got`."""
    return expected if got is not None and abs(got - expected) <= by else got


def others_free(line: Line, lines: Collection[Line]) -> bool:
    """Return whether an earlier victim may still be freeing memory of that cgroup between print and probe."""
    return any(0 < _later(line, other) < DYING_S for other in _others(line, lines))


def is_crowded(line: Line, lines: Collection[Line]) -> bool:
    """Return whether others die in that cgroup at about that time: they reclaim pages while a report is printed."""
    return any(abs(_later(line, other)) < DYING_S for other in _others(line, lines))


def _others(line: Line, lines: Collection[Line]) -> list[Line]:
    """Return the lines of other victims of that cgroup, or in it, or below it."""
    where = at(line, "oom.memcg.path")
    return [other for other in lines if other is not line and _is_in(other, where)]


def _is_in(line: Line, cgroup: str | None) -> bool:
    below = f"{cgroup}/"
    return at(line, "oom.memcg.path") == cgroup or str(f"{at(line, 'cgroup.path')}/").startswith(below)


def _later(line: Line, other: Line) -> float:
    """Return by how many seconds a victim was killed later than another one."""
    times = [datetime.fromisoformat(each["time"]) for each in (line, other)]
    return (times[0] - times[1]).total_seconds()
