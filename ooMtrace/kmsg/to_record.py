# SPDX-License-Identifier: Apache-2.0
"""From a report to the records of its kills. Pure.

What the log says is taken as it is; what follows from several of its numbers is named in `derived`; the rest is None.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ooMtrace import record
from ooMtrace.kernel.snapshot import rfc3339
from ooMtrace.kmsg import badness
from ooMtrace.kmsg.badness import KIB
from ooMtrace.kmsg.formats import LogLine
from ooMtrace.kmsg.report import Killed, Report
from ooMtrace.kmsg.task_table import Row
from ooMtrace.record.message import describe_kill as in_words

AMBIGUOUS_PAGE_TABLES = 4096


@dataclass(frozen=True, slots=True)
class Origin:
    """What is known of a log beside its lines.

    Attributes:
        observed: When it is read, RFC 3339.
        host: The machine, if the log is known to be its own.
        booted: Nanoseconds from the epoch to the zero of the kernel's clock, if the log is of this boot.
        counted: How many kills the kernel had counted before the log's first, if that is known.
    """

    observed: str
    host: record.Host | None = None
    booted: int | None = None
    counted: int | None = None


def to_records(report: Report, origin: Origin) -> Iterator[record.OomKill]:
    """Yield the kills of a report, in the order of the log."""
    if report.mixed:
        for killed in report.kills:
            yield _kill(Report(killed.line, kills=[killed]), killed, origin, verdict=None)
        return
    for killed in report.kills:
        verdict: record.Verdict | None = "killed" if killed is report.kills[0] else "group_member"
        if report.start.text.startswith("Tasks in "):  # who was chosen is lost, and among these, too
            verdict = None
        yield _kill(report, killed, origin, verdict="shared_mm" if killed.sharing else verdict)


def _kill(report: Report, killed: Killed, origin: Origin, verdict: record.Verdict | None) -> record.OomKill:
    host = _host(report, killed.line, origin)
    row = report.table.row(killed.number) if report.table else None
    page = badness.page_size(killed, row)
    process = _process(report, killed, row, page)
    oom, derived = _oom(report, killed, row, page, verdict, _incident(report, host))
    oom = replace(oom, number=_number(killed, origin))
    time = _time(killed.line, origin)
    worked_out = time is not None and (killed.line.guessed or killed.line.wall is None)
    return record.OomKill(
        id=_id(killed, host, oom.number),
        time=time,
        observed=origin.observed,
        message=in_words(process, oom if oom.memcg and oom.memcg.path else replace(oom, memcg=None)),
        fidelity="log",
        derived=(*derived, *(("time",) if worked_out else ())),
        host=host,
        oom=oom,
        process=process,
        cgroup=_cgroup(report, killed, oom),
    )


def _number(killed: Killed, origin: Origin) -> int | None:
    if origin.counted is None or not killed.line.nth:
        return None
    return origin.counted + killed.line.nth


def _id(killed: Killed, host: record.Host, number: int | None) -> str:
    if number is not None:
        return record.kill_id(host, number, killed.number)
    return f"{_unique(killed.line, host)}-{killed.number}"


def _time(line: LogLine, origin: Origin) -> str | None:
    """Tell when it was.

    The kernel's own clock is worked out: nobody sets that one right (local_clock()). It may be some milliseconds ahead,
    but nothing was after it was seen.
    """
    try:
        if line.wall is None and line.ktime is not None and origin.booted is not None:
            return min(rfc3339(origin.booted + line.ktime), origin.observed)
        return None if line.wall is None else rfc3339(line.wall)
    except OverflowError:  # damaged: no such year
        return None


def _host(report: Report, line: LogLine, origin: Origin) -> record.Host:
    if origin.host is not None:
        return origin.host
    return record.Host(name=line.host, boot_id=line.boot_id, kernel=report.kernel)


def _unique(line: LogLine, host: record.Host) -> str:
    """Name an instant, by the best clock that the log has; without any by the place in the log."""
    whose = (host.boot_id or host.name or "log")[:8]
    if line.ktime is not None:
        return f"{whose}-{line.ktime:x}"
    return f"{whose}-w{line.wall:x}" if line.wall is not None else f"{whose}-n{line.number:x}"


def _incident(report: Report, host: record.Host) -> str:
    """Name an OOM. A log's stamps may be seconds, in which there may be two: the first victim tells them apart."""
    name = _unique(report.start, host)
    return name if report.start.ktime is not None else f"{name}-{report.kills[0].number}"


def _process(report: Report, killed: Killed, row: Row | None, page: int | None) -> record.Process:
    summary = report.summary
    is_chosen = summary is not None and summary.pid == killed.number
    uid, adj = killed.uid, killed.oom_score_adj
    if uid is None:
        uid = row.uid if row else summary.uid if summary and is_chosen else None
    if adj is None and row:
        adj = row.oom_score_adj
    return record.Process(
        pid=_pid(killed, row, is_chosen=is_chosen),
        tid=killed.number,
        comm=killed.comm,
        user=record.User(id=uid),
        oom_score_adj=adj,
        memory=_memory(killed, row, page),
    )


def _pid(killed: Killed, row: Row | None, *, is_chosen: bool) -> int | None:
    """Tell the process: the kill itself names a thread, the first that still had memory (find_lock_task_mm()).

    The table has both numbers; the summary names the process, unless the victim is just who allocated; and so did the
    line on who shared memory.
    """
    if row is not None:
        return row.tgid
    is_process = killed.sharing or (is_chosen and "allocating_task" not in (killed.why or ""))
    return killed.number if is_process else None


def _memory(killed: Killed, row: Row | None, page: int | None) -> record.Memory:
    size = {name: kilobytes * KIB for name, kilobytes in killed.size.items()}
    tables = size.pop("page_tables", None)
    if row and row.pgtables_bytes is not None:
        tables = row.pgtables_bytes
    elif row and row.page_tables is not None:
        tables = None if page is None else row.page_tables * page
    elif tables and killed.size["page_tables"] % AMBIGUOUS_PAGE_TABLES == 0:
        tables = None  # 5.4.0 to 5.4.8 print bytes and call them kB (fixed by 941f762bcb27): no telling which
    swap = row.swap * page if row and row.swap is not None and page else None
    return record.Memory(swap=swap, page_tables=tables, **size)


def _oom(
    report: Report, killed: Killed, row: Row | None, page: int | None, verdict: record.Verdict | None, incident: str
) -> tuple[record.Oom, tuple[str, ...]]:
    scope, scope_derived = badness.scope(report, killed)
    limit = badness.limit(report, scope, page)
    points = badness.points(report, killed, row, page, limit)
    header = report.header
    oom = record.Oom(
        incident=incident,
        verdict=verdict,
        scope=scope,
        constraint=report.summary.constraint if report.summary else None,
        gfp_mask=_gfp_mask(report),
        order=header.order if header else None,
        points=points,
        limit_bytes=limit,
        trigger=_trigger(report),
        memcg=_memcg(report, killed) if scope == "memcg" else None,
        group=record.Group(path=report.group, size=len(report.kills)) if report.group else None,
    )
    derived = {
        "oom.scope": scope_derived,
        "oom.limit_bytes": limit is not None,
        "oom.points": points is not None and points.total is not None,
    }
    return oom, tuple(name for name, is_so in derived.items() if is_so)


def _gfp_mask(report: Report) -> record.GfpMask | None:
    """Tell the mask; its bits moved between kernels, so they have names only where the kernel gives them."""
    if report.header is None:
        return None
    return record.GfpMask(raw=report.header.gfp_mask, flags=report.header.gfp_flags)


def _trigger(report: Report) -> record.Trigger | None:
    if report.header is None:
        return None
    row = report.table.row(report.trigger_tid) if report.table and report.trigger_tid is not None else None
    return record.Trigger(pid=row.tgid if row else None, tid=report.trigger_tid, comm=report.header.comm)


def _memcg(report: Report, killed: Killed) -> record.Memcg | None:
    path = None
    if report.summary:
        path = report.summary.oom_memcg
    elif report.task_in:
        path = report.task_in[1]
    usage, limit = _sizes(report, "memory")
    version, swap, swap_limit = _swap(report, usage, limit)
    if killed is not report.kills[0]:  # the counters were printed before the first kill: they have fallen since
        usage = swap = None
    memcg = record.Memcg(path=path, version=version, usage=usage, limit=limit, swap=swap, swap_limit=swap_limit)
    return None if memcg == record.Memcg() else memcg


def _swap(report: Report, usage: int | None, limit: int | None) -> tuple[int | None, int | None, int | None]:
    """Return version, swap and its limit; version 1 counts memory and swap together."""
    if "swap" in report.usage:
        return 2, *_sizes(report, "swap")
    both, both_limit = _sizes(report, "memory+swap")
    version = 1 if "memory+swap" in report.usage and report.stats else None
    return version, _less(both, usage), _less(both_limit, limit)


def _sizes(report: Report, counter: str) -> tuple[int | None, int | None]:
    if counter not in report.usage:
        return None, None
    usage, limit = report.usage[counter]
    return usage * KIB, badness.kilobytes(limit)


def _less(whole: int | None, part: int | None) -> int | None:
    """Subtract; None if nobody counts the whole (swapaccount=0, or version 2 before 5.3): then it stays 0."""
    return None if not whole or part is None or whole < part else whole - part


def _cgroup(report: Report, killed: Killed, oom: record.Oom) -> record.Cgroup | None:
    """Tell the victim's own cgroup: the log names that of the chosen one only."""
    chosen, path = None, None
    if report.summary:
        chosen, path = report.summary.pid, report.summary.task_memcg
    elif report.task_in and report.chosen:
        chosen, path = report.chosen[0], report.task_in[0]
    version = oom.memcg.version if oom.memcg else None
    mine = killed is report.kills[0] and chosen is not None and chosen in (killed.number, _tgid(report, killed))
    return record.Cgroup(path=path if mine else None, version=version) if (path and mine) or version else None


def _tgid(report: Report, killed: Killed) -> int | None:
    row = report.table.row(killed.number) if report.table else None
    return row.tgid if row else None


def with_seq(kill: record.OomKill, seq: int) -> record.OomKill:
    """Give a line its number, and the names of what it lacks."""
    return replace(kill, seq=seq, missing=tuple(record.missing_facts(kill)))
