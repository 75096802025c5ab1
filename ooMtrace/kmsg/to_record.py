# SPDX-License-Identifier: Apache-2.0
"""From a report to its records: one for each kill, or one for an OOM without any. Pure.

What the log states is copied; what is computed from several of its numbers is named in `derived`; the rest is None.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TypeVar

from ooMtrace import record
from ooMtrace.kmsg import badness, oom_facts
from ooMtrace.kmsg.badness import KIB
from ooMtrace.kmsg.candidates import candidates, is_chosen, weighed_rows
from ooMtrace.kmsg.no_kill import to_no_kill
from ooMtrace.kmsg.origin import Origin, host_of, instant_id, is_derived, printed_at
from ooMtrace.kmsg.possible import ADJ, PIDS, SCORES, UIDS, known
from ooMtrace.kmsg.report import Killed, Report
from ooMtrace.kmsg.task_table import Row
from ooMtrace.record.message import describe_kill

AMBIGUOUS_PAGE_TABLES = 4096
"""5.4.0 to 5.4.8 print `pgtables` in bytes and call it kB (fixed by 941f762bcb27): a multiple of this may be either."""


Event = TypeVar("Event", bound=record.OomKill | record.OomNoKill)

__all__ = ["Origin", "to_records", "with_seq"]


def to_records(report: Report, origin: Origin) -> Iterator[record.OomKill | record.OomNoKill]:
    """Yield the kills of a report, in the order of the log, or the one record of a report that ends without any.

    A choice without a kill is one only in a log that may have lost the kill's line. Of the running kernel all lines are
    read: there it means that the process was exiting already (__oom_kill_process()), or that the kill is not printed
    yet.
    """
    if report.no_kill:
        yield to_no_kill(report, report.no_kill, origin)
    for killed in report.kills:
        if killed.unconfirmed and origin.host is not None:
            continue
        if report.interleaved:
            yield _kill(Report(killed.line, kills=[killed]), killed, origin, verdict=None)
        else:
            yield _kill(report, killed, origin, _verdict(report, killed))


def _verdict(report: Report, killed: Killed) -> record.Verdict | None:
    if killed.sharing:
        return "shared_mm"
    if killed.unconfirmed:  # until 5.1 a child of the chosen process may be killed instead
        return None
    if report.start.text.startswith("Tasks in "):  # the first kill is lost, and its victim may be among the members
        return None
    return "killed" if killed is report.kills[0] else "group_member"


def _kill(report: Report, killed: Killed, origin: Origin, verdict: record.Verdict | None) -> record.OomKill:
    host = host_of(report, killed.line, origin)
    row = report.table.row(killed.pid) if report.table else None
    page = badness.page_size(killed, row)
    process = _process(report, killed, row, page)
    oom, derived = _oom(report, killed, row, page, verdict, _incident(report, host, origin))
    oom = replace(oom, number=_ordinal(killed, origin))
    time = printed_at(killed.line, origin)
    return record.OomKill(
        id=_id(killed, host, oom.number, origin),
        time=time,
        observed=origin.observed,
        message=describe_kill(process, oom if oom.memcg and oom.memcg.path else replace(oom, memcg=None)),
        fidelity="log",
        derived=(*derived, *(("time",) if is_derived(killed.line, time) else ())),
        host=host,
        oom=oom,
        process=process,
        cgroup=_cgroup(report, killed, oom),
    )


def _incident(report: Report, host: record.Host, origin: Origin) -> str:
    first = report.kills[0]
    return instant_id(report.start, host, first.pid, first.line, origin)


def _ordinal(killed: Killed, origin: Origin) -> int | None:
    if origin.kill_count_before is None or not killed.line.nth:
        return None
    return origin.kill_count_before + killed.line.nth


def _id(killed: Killed, host: record.Host, ordinal: int | None, origin: Origin) -> str:
    if ordinal is not None:
        return record.kill_id(host, ordinal, killed.pid)
    return instant_id(killed.line, host, killed.pid, killed.line, origin)


def _process(report: Report, killed: Killed, row: Row | None, page: int | None) -> record.Process:
    summary = report.selection.summary
    is_victim = summary is not None and summary.pid == killed.pid
    uid, adj = known(killed.uid, UIDS), known(killed.oom_score_adj, ADJ)
    if uid is None:
        uid = row.uid if row else known(summary.uid, UIDS) if summary and is_victim else None
    if adj is None and row:
        adj = row.oom_score_adj
    return record.Process(
        pid=_pid(killed, row, is_victim=is_victim),
        tid=None if killed.unconfirmed and is_victim else known(killed.pid, PIDS),
        comm=killed.comm,
        user=record.User(id=uid),
        oom_score_adj=adj,
        memory=_memory(killed, row, page),
    )


def _pid(killed: Killed, row: Row | None, *, is_victim: bool) -> int | None:
    """Return the process id: the kill itself names a thread, the first that still had memory (find_lock_task_mm()).

    The table has both ids; the summary names the process, unless the victim is the allocating task; the line about
    shared memory named the process, too.
    """
    if row is not None:
        return row.tgid
    is_process = killed.sharing or (is_victim and "allocating_task" not in (killed.reason or ""))
    return known(killed.pid, PIDS) if is_process else None


def _memory(killed: Killed, row: Row | None, page: int | None) -> record.Memory:
    size = {name: kilobytes * KIB for name, kilobytes in killed.size.items()}
    tables = size.pop("page_tables", None)
    if row and row.pgtables_bytes is not None:
        tables = row.pgtables_bytes
    elif row and row.page_tables is not None:
        tables = None if page is None else row.page_tables * page
    elif tables and killed.size["page_tables"] % AMBIGUOUS_PAGE_TABLES == 0:
        tables = None
    swap = row.swap * page if row and row.swap is not None and page else None
    return record.Memory(swap=swap, page_tables=tables, **size)


def _oom(
    report: Report, killed: Killed, row: Row | None, page: int | None, verdict: record.Verdict | None, incident: str
) -> tuple[record.Oom, tuple[str, ...]]:
    scope, scope_derived = badness.scope(report, killed)
    limit = badness.limit(report, scope, page)
    points = badness.points(report, killed, row, page, limit)
    weighed = weighed_rows(report, killed)
    best = None if weighed is None else candidates(weighed, killed, page, limit)
    oom = record.Oom(
        incident=incident,
        verdict=verdict,
        scope=scope,
        constraint=badness.constraint(report, killed),
        points=points,
        score=_score(report, killed),
        limit_bytes=limit,
        memcg=oom_facts.memcg(report, is_first=killed is report.kills[0]) if scope == "memcg" else None,
        group=record.Group(path=report.group, size=len(report.kills)) if report.group else None,
        weighed=None if weighed is None else len(weighed),
        candidates=best,
        **oom_facts.request(report),
    )
    derived = {
        "oom.scope": scope_derived,
        "oom.limit_bytes": limit is not None,
        "oom.points": points is not None and points.total is not None,
        "oom.weighed": weighed is not None,
        "oom.candidates": best is not None,
    }
    return oom, tuple(name for name, is_derived in derived.items() if is_derived)


def _score(report: Report, killed: Killed) -> int | None:
    """Return the score that the kernel printed for the process it chose, if that is the one that was killed."""
    choice = report.selection.choice
    return known(choice.score, SCORES) if choice and is_chosen(report, killed) else None


def _cgroup(report: Report, killed: Killed, oom: record.Oom) -> record.Cgroup | None:
    """Return the victim's own cgroup: the log names only that of the chosen process."""
    path = _chosen_cgroup(report, killed) if killed is report.kills[0] else None
    version = oom.memcg.version if oom.memcg else None
    return record.Cgroup(path=path, version=version) if path or version else None


def _chosen_cgroup(report: Report, killed: Killed) -> str | None:
    """Return the cgroup of the chosen process if this is the one that was killed."""
    selection = report.selection
    if selection.summary:
        chosen_pid, path = selection.summary.pid, selection.summary.task_memcg
    elif selection.task_in and selection.choice:
        chosen_pid, path = selection.choice.pid, selection.task_in.task_memcg
    else:
        return None
    row = report.table.row(killed.pid) if report.table else None
    return path if chosen_pid in (killed.pid, row.tgid if row else None) else None


def with_seq(event: Event, seq: int) -> Event:
    """Give a record its number in the output, and name the facts that it lacks."""
    return replace(event, seq=seq, missing=tuple(record.missing_facts(event)))
