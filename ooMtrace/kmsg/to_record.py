# SPDX-License-Identifier: Apache-2.0
"""From a report to the records of its kills. Pure.

What the log states is copied; what is computed from several of its numbers is named in `derived`; the rest is None.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import blake2s

from ooMtrace import record
from ooMtrace.kernel.snapshot import rfc3339
from ooMtrace.kmsg import badness
from ooMtrace.kmsg.badness import KIB
from ooMtrace.kmsg.candidates import candidates, weighed_rows
from ooMtrace.kmsg.formats import LogLine
from ooMtrace.kmsg.report import Killed, Report
from ooMtrace.kmsg.task_table import Row
from ooMtrace.record.message import describe_kill

AMBIGUOUS_PAGE_TABLES = 4096
"""5.4.0 to 5.4.8 print `pgtables` in bytes and call it kB (fixed by 941f762bcb27): a multiple of this may be either."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What is known of a log besides its lines.

    Attributes:
        observed: When it is read, RFC 3339.
        host: The host, if the log is known to be its own.
        booted: Nanoseconds from the epoch to the zero of the kernel's clock, if the log is of this boot.
        kill_count_before: The kernel's count of kills before the first one in the log, if it is known.
        log: A digest of the log's beginning; empty: its lines are all that there is.
    """

    observed: str
    host: record.Host | None = None
    booted: int | None = None
    kill_count_before: int | None = None
    log: str = ""


def to_records(report: Report, origin: Origin) -> Iterator[record.OomKill]:
    """Yield the kills of a report, in the order of the log.

    A choice without a kill is one only in a log that may have lost the kill's line. Of the running kernel all lines are
    read: there it means that the process was exiting already (__oom_kill_process()), or that the kill is not printed
    yet.
    """
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
    host = _host(report, killed.line, origin)
    row = report.table.row(killed.pid) if report.table else None
    page = badness.page_size(killed, row)
    process = _process(report, killed, row, page)
    oom, derived = _oom(report, killed, row, page, verdict, _instant_id(report.start, host, report.kills[0], origin))
    oom = replace(oom, number=_ordinal(killed, origin))
    time = _time(killed.line, origin)
    time_is_derived = time is not None and (killed.line.guessed or killed.line.wall is None)
    return record.OomKill(
        id=_id(killed, host, oom.number, origin),
        time=time,
        observed=origin.observed,
        message=describe_kill(process, oom if oom.memcg and oom.memcg.path else replace(oom, memcg=None)),
        fidelity="log",
        derived=(*derived, *(("time",) if time_is_derived else ())),
        host=host,
        oom=oom,
        process=process,
        cgroup=_cgroup(report, killed, oom),
    )


def _ordinal(killed: Killed, origin: Origin) -> int | None:
    if origin.kill_count_before is None or not killed.line.nth:
        return None
    return origin.kill_count_before + killed.line.nth


def _id(killed: Killed, host: record.Host, ordinal: int | None, origin: Origin) -> str:
    if ordinal is not None:
        return record.kill_id(host, ordinal, killed.pid)
    return _instant_id(killed.line, host, killed, origin)


def _time(line: LogLine, origin: Origin) -> str | None:
    """Return when the line was printed, RFC 3339.

    A time computed from the kernel's own clock is approximate, since nothing corrects that clock (local_clock()). It
    may be some milliseconds ahead, but no kill happened after it was observed.
    """
    try:
        if line.wall is None and line.ktime is not None and origin.booted is not None:
            return min(rfc3339(origin.booted + line.ktime), origin.observed)
        return None if line.wall is None else rfc3339(line.wall)
    except OverflowError:  # damaged: the year does not exist
        return None


def _host(report: Report, line: LogLine, origin: Origin) -> record.Host:
    if origin.host is not None:
        return origin.host
    return record.Host(name=line.host, boot_id=line.boot_id, kernel=report.trigger.kernel)


def _instant_id(line: LogLine, host: record.Host, killed: Killed, origin: Origin) -> str:
    """Identify a line by the best clock that the log has, or else by its number, and by the kill.

    Hosts, boots and files may share a time stamp and a pid, so all that the lines state is part of it, as a digest.
    Where they do not state the boot, nor host and date, their place in the log is part of it, too.
    """
    owner = (host.boot_id or host.name or "log")[:8]
    at = f"w{line.wall:x}" if line.wall is not None else f"n{line.number:x}"
    at = at if line.ktime is None else f"{line.ktime:x}"
    facts = (host.name, host.boot_id, line.ktime, line.wall, line.text, killed.line.text)
    is_dated = host.boot_id is not None or (host.name is not None and line.wall is not None)
    place = () if is_dated or not origin.log else (origin.log, killed.line.number)
    digest = blake2s(repr(facts + place).encode(errors="backslashreplace"), digest_size=4).hexdigest()
    return f"{owner}-{at}-{killed.pid}-{digest}"


def _process(report: Report, killed: Killed, row: Row | None, page: int | None) -> record.Process:
    summary = report.selection.summary
    is_chosen = summary is not None and summary.pid == killed.pid
    uid, adj = killed.uid, killed.oom_score_adj
    if uid is None:
        uid = row.uid if row else summary.uid if summary and is_chosen else None
    if adj is None and row:
        adj = row.oom_score_adj
    return record.Process(
        pid=_pid(killed, row, is_chosen=is_chosen),
        tid=None if killed.unconfirmed and is_chosen else killed.pid,
        comm=killed.comm,
        user=record.User(id=uid),
        oom_score_adj=adj,
        memory=_memory(killed, row, page),
    )


def _pid(killed: Killed, row: Row | None, *, is_chosen: bool) -> int | None:
    """Return the process id: the kill itself names a thread, the first that still had memory (find_lock_task_mm()).

    The table has both ids; the summary names the process, unless the victim is the allocating task; the line about
    shared memory named the process, too.
    """
    if row is not None:
        return row.tgid
    is_process = killed.sharing or (is_chosen and "allocating_task" not in (killed.reason or ""))
    return killed.pid if is_process else None


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
    header = report.trigger.header
    oom = record.Oom(
        incident=incident,
        verdict=verdict,
        scope=scope,
        constraint=badness.constraint(report, killed),
        gfp_mask=_gfp_mask(report),
        order=header.order if header else None,
        points=points,
        limit_bytes=limit,
        trigger=_trigger(report),
        memcg=_memcg(report, killed) if scope == "memcg" else None,
        group=record.Group(path=report.group, size=len(report.kills)) if report.group else None,
        weighed=None if weighed is None else len(weighed),
        candidates=best,
    )
    derived = {
        "oom.scope": scope_derived,
        "oom.limit_bytes": limit is not None,
        "oom.points": points is not None and points.total is not None,
        "oom.weighed": weighed is not None,
        "oom.candidates": best is not None,
    }
    return oom, tuple(name for name, is_derived in derived.items() if is_derived)


def _gfp_mask(report: Report) -> record.GfpMask | None:
    """Return the mask; its bits differ between kernels, so the flags are named only if the log names them."""
    header = report.trigger.header
    return None if header is None else record.GfpMask(raw=header.gfp_mask, flags=header.gfp_flags)


def _trigger(report: Report) -> record.Trigger | None:
    header, tid = report.trigger.header, report.trigger.tid
    if header is None:
        return None
    row = report.table.row(tid) if report.table and tid is not None else None
    return record.Trigger(pid=row.tgid if row else None, tid=tid, comm=header.comm)


def _memcg(report: Report, killed: Killed) -> record.Memcg | None:
    selection, path = report.selection, None
    if selection.summary:
        path = selection.summary.oom_memcg
    elif selection.task_in:
        path = selection.task_in.oom_memcg
    usage, limit = _sizes(report, "memory")
    version, swap, swap_limit = _swap(report, usage, limit)
    if killed is not report.kills[0]:  # the counters were printed before the first kill
        usage = swap = None
    memcg = record.Memcg(path=path, version=version, usage=usage, limit=limit, swap=swap, swap_limit=swap_limit)
    return None if memcg == record.Memcg() else memcg


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


def with_seq(kill: record.OomKill, seq: int) -> record.OomKill:
    """Give a record its number in the output, and name the facts that it lacks."""
    return replace(kill, seq=seq, missing=tuple(record.missing_facts(kill)))
