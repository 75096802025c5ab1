# SPDX-License-Identifier: Apache-2.0
"""What a report says of the OOM itself, whether a process was killed or not. Pure."""

from __future__ import annotations

from typing import Any

from ooMtrace import record
from ooMtrace.kmsg import badness
from ooMtrace.kmsg.possible import ORDERS, PIDS, known
from ooMtrace.kmsg.report import Report

NO_NODEMASK = "(null)"


def request(report: Report) -> dict[str, Any]:
    """Return the facts of the allocation that failed, as arguments of record.Oom.

    The bits of the mask differ between kernels, so its flags are named only if the log names them.
    """
    header, summary = report.trigger.header, report.selection.summary
    nodemask = summary.nodemask if summary else header.nodemask if header else None
    cpuset = summary.cpuset if summary else report.trigger.cpuset
    mems_allowed = summary.mems_allowed if summary else report.trigger.mems_allowed
    return {
        "nodemask": None if nodemask == NO_NODEMASK else nodemask or None,
        "cpuset": cpuset or None,
        "mems_allowed": mems_allowed or None,
        "gfp_mask": record.GfpMask(raw=header.gfp_mask, flags=header.gfp_flags) if header else None,
        "order": known(header.order, ORDERS) if header else None,
        "trigger": _trigger(report),
    }


def _trigger(report: Report) -> record.Trigger | None:
    header, tid = report.trigger.header, known(report.trigger.tid, PIDS)
    if header is None:
        return None
    row = report.table.row(tid) if report.table and tid is not None else None
    return record.Trigger(pid=row.tgid if row else None, tid=tid, comm=header.comm)


def memcg(report: Report, *, is_first: bool) -> record.Memcg | None:
    """Return the memory cgroup that was out of memory.

    Args:
        report: The report.
        is_first: Whether this is about the first kill, or none: counters and statistics were printed before that.
    """
    usage, limit = _sizes(report, "memory")
    version, swap, swap_limit = _swap(report, usage, limit)
    found = record.Memcg(
        path=_path(report),
        version=version,
        usage=usage if is_first else None,
        limit=limit,
        swap=swap if is_first else None,
        swap_limit=swap_limit,
        stat=report.memory.stat.complete() or None if is_first else None,
    )
    return None if found == record.Memcg() else found


def _path(report: Report) -> str | None:
    """Return the cgroup's path; without a victim only the heading of its statistics has it from 5.0 on."""
    selection, memory = report.selection, report.memory
    if selection.summary:
        return selection.summary.oom_memcg
    if selection.task_in:
        return selection.task_in.oom_memcg
    if report.no_kill is None:
        return None
    return memory.limited_memcg if memory.limited_memcg is not None else memory.stats_memcg


def _swap(report: Report, usage: int | None, limit: int | None) -> tuple[int | None, int | None, int | None]:
    """Return version, swap and its limit; version 1 counts memory and swap together."""
    counters = report.memory.counters
    if "swap" in counters:
        return 2, *_sizes(report, "swap")
    both, both_limit = _sizes(report, "memory+swap")
    version = 1 if "memory+swap" in counters and report.memory.multiline_stats else None
    return version, _subtract(both, usage), _subtract(both_limit, limit)


def _sizes(report: Report, counter: str) -> tuple[int | None, int | None]:
    if counter not in report.memory.counters:
        return None, None
    usage, limit = report.memory.counters[counter]
    return badness.limit_bytes(usage), badness.limit_bytes(limit)


def _subtract(whole: int | None, part: int | None) -> int | None:
    """Subtract; None if the kernel does not count the whole (swapaccount=0, or version 2 before 5.3): it stays 0."""
    return None if not whole or part is None or whole < part else whole - part
