# SPDX-License-Identifier: Apache-2.0
"""From a report that ends without a kill to its record. Pure."""

from __future__ import annotations

from dataclasses import replace
from heapq import nlargest

from ooMtrace import record
from ooMtrace.kmsg import badness, grammar, oom_facts
from ooMtrace.kmsg.candidates import MAX_CANDIDATES, UNKILLABLE
from ooMtrace.kmsg.origin import Origin, host_of, instant_id, is_derived, printed_at
from ooMtrace.kmsg.report import SYSRQ_ORDER, NoKill, Report
from ooMtrace.kmsg.task_table import Row
from ooMtrace.record.message import describe_no_kill


def to_no_kill(report: Report, no_kill: NoKill, origin: Origin) -> record.OomNoKill:
    """Return the record of an OOM without a victim."""
    if report.interleaved:  # only the end can be relied on
        report = Report(no_kill.line, no_kill=no_kill)
    host, line = host_of(report, no_kill.line, origin), no_kill.line
    scope, page = _scope(report, no_kill), _page(report, origin)
    limit = badness.limit(report, scope, page)
    candidates = _candidates(report, no_kill, page, limit)
    oom = record.Oom(
        incident=instant_id(report.start, host, _tid(report), line, origin),
        reason=no_kill.reason,
        scope=scope,
        limit_bytes=limit,
        memcg=oom_facts.memcg(report, is_first=True) if scope == "memcg" else None,
        candidates=candidates,
        **oom_facts.request(report),
    )
    time = printed_at(line, origin)
    derived = {
        "oom.scope": scope not in (None, "sysrq"),
        "oom.limit_bytes": limit is not None,
        "oom.candidates": candidates is not None,
        "time": is_derived(line, time),
    }
    found = record.OomNoKill(
        id=instant_id(line, host, _tid(report), line, origin),
        time=time,
        observed=origin.observed,
        message=describe_no_kill(oom),
        derived=tuple(name for name, is_true in derived.items() if is_true),
        host=host,
        oom=oom,
    )
    return replace(found, missing=tuple(record.missing_facts(found)))


def _tid(report: Report) -> int:
    return report.trigger.tid or 0


def _scope(report: Report, no_kill: NoKill) -> record.Scope | None:
    """Return what was out of memory; no sentence of the kernel names it without a victim.

    The counters of a memory cgroup are printed only if that is out of memory, and those of the host (Mem-Info) in all
    other cases. vm.panic_on_oom=1 leaves all allocations alone that are restricted.
    """
    header, memory = report.trigger.header, report.memory
    if header and header.order == SYSRQ_ORDER:
        return "sysrq"
    if memory.counters or memory.stats_memcg is not None or memory.limited_memcg is not None:
        return "memcg"
    if no_kill.line.text.startswith(grammar.SYSTEM_WIDE):
        return "global"
    return "global" if header and memory.has_mem_info and badness.is_unrestricted(report) else None


def _page(report: Report, origin: Origin) -> int | None:
    page = report.memory.page or origin.page
    return page if page in badness.PAGE_SIZES else None


def _candidates(
    report: Report, no_kill: NoKill, page: int | None, limit: int | None
) -> tuple[record.Candidate, ...] | None:
    """Return the processes with the most memory; with points only if they could have been killed.

    With vm.panic_on_oom the kernel does not choose; without a killable process it has compared none.
    """
    rows = report.table.all_rows() if report.table else None
    if not rows or any(row.rss is None for row in rows):
        return None
    best = nlargest(MAX_CANDIDATES, rows, key=lambda row: (row.rss or 0) + (row.swap or 0))
    return tuple(_candidate(row, no_kill, page, limit) for row in best)


def _candidate(row: Row, no_kill: NoKill, page: int | None, limit: int | None) -> record.Candidate:
    points = badness.badness(row, row.oom_score_adj, page, limit)
    memory = None if page is None else badness.badness(row, 0, page, limit).total
    is_killable = no_kill.reason == "panic" and row.oom_score_adj != UNKILLABLE
    return record.Candidate(
        pid=row.tgid,
        comm=row.name,
        points=points.total if is_killable else None,
        oom_score_adj=row.oom_score_adj,
        memory=None if memory is None or page is None else memory * page,
        cgroup=None,
    )
