# SPDX-License-Identifier: Apache-2.0
"""The scope of an OOM, its limit and the victim's badness, each computed from several numbers of a report. Pure."""

from __future__ import annotations

import re
from dataclasses import replace

from ooMtrace.kmsg.report import SYSRQ_ORDER, Killed, Report
from ooMtrace.kmsg.task_table import Row
from ooMtrace.record import SCOPES, Points, Scope

KIB = 1024
UNLIMITED_KB, UNLIMITED_32_KB = 1 << 52, 0x7FFFFFFF * 4
"""PAGE_COUNTER_MAX: printed as 9007199254740988kB, or about that with larger pages; the second value on 32 bits."""

PAGE_SIZES = (4096, 8192, 16384, 32768, 65536)
PAGE_TOLERANCE = 1.25
"""By how much an address space may have grown or shrunk between the table and the kill."""


def limit_bytes(limit: int) -> int | None:
    """Turn a limit in kilobytes into bytes; None if it means unlimited."""
    return None if limit >= UNLIMITED_KB or limit == UNLIMITED_32_KB else limit * KIB


def page_size(killed: Killed, row: Row | None) -> int | None:
    """Compute the page size in bytes: the table has the address space in pages, the kill has it in kilobytes.

    The process may have grown between the two lines: then the resident memory must have the same page size, and all
    of the kill's sizes must be whole pages.
    """
    size = killed.size.get("total_vm")
    if row is None or not row.total_vm or not size:
        return None
    page = _nearest_page_size(size, row.total_vm)
    if page is None or page * row.total_vm == size * KIB:
        return page
    resident = [killed.size[name] for name in ("anon", "file", "shmem") if name in killed.size]
    if any(kilobytes * KIB % page for kilobytes in (size, *resident)):
        return None
    return page if not row.rss or _nearest_page_size(sum(resident), row.rss) == page else None


def _nearest_page_size(kilobytes: int, pages: int) -> int | None:
    ratio = kilobytes * KIB / pages
    return next((page for page in PAGE_SIZES if page / PAGE_TOLERANCE <= ratio <= page * PAGE_TOLERANCE), None)


def scope(report: Report, killed: Killed) -> tuple[Scope | None, bool]:
    """Return what was out of memory, and whether that was derived.

    Only the header distinguishes a request by sysrq from a host without memory: both are CONSTRAINT_NONE.
    Before 5.0 no line names the constraint. The OOM was not constrained if the task was in the root cpuset and there
    was no nodemask, or only one node to choose from.
    """
    header, selection = report.trigger.header, report.selection
    if header and header.order == SYSRQ_ORDER:
        return "sysrq", False
    if selection.summary:
        if selection.of_memcg:
            return "memcg", False
        scope = SCOPES.get(constraint(report, killed) or "")
        return (None if scope == "global" and header is None else scope), False
    if selection.task_in or ((selection.choice or killed).reason or "").startswith("Memory cgroup"):
        return "memcg", False
    return ("global", True) if is_unrestricted(report) and killed.reason else (None, False)


def is_unrestricted(report: Report) -> bool:
    """Return whether the task was in the root cpuset and had no nodemask, or only one node to choose from."""
    header, mems_allowed = report.trigger.header, report.trigger.mems_allowed or ""
    any_node = (header is not None and header.nodemask == "(null)") or re.fullmatch("[0-9]+", mems_allowed) is not None
    return report.trigger.cpuset == "/" and any_node


def constraint(report: Report, killed: Killed) -> str | None:
    """Return the constraint that the summary states; None if it may not be the true one.

    5.0 and 5.1 print CONSTRAINT_NONE whatever it is: they do not store it in oom_control (fixed by 432b1de0de02).
    """
    summary = report.selection.summary
    if summary is None or summary.constraint != "CONSTRAINT_NONE":
        return summary.constraint if summary else None
    release = re.match(r"[0-9]+[.][0-9]+(?![0-9])", report.trigger.kernel or "")
    is_fixed = release[0] not in ("5.0", "5.1") if release else killed.oom_score_adj is not None or killed.unconfirmed
    return summary.constraint if is_fixed and not summary.names_memcg else None


def limit(report: Report, scope: Scope | None, page: int | None) -> int | None:
    """Compute `totalpages` of constrained_alloc() in bytes, where the log has all its parts.

    For a memory cgroup it is the limit and the swap that may be used: known only if no swap may be used. For the host
    it is what the zones manage (RAM less what is reserved; printed like this since 3.16) and all swap.
    """
    if scope == "memcg":
        memory, swap, both = (report.memory.counters.get(name) for name in ("memory", "swap", "memory+swap"))
        without_swap = (swap and swap[1] == 0) or (memory and both and both[1] == memory[1])
        return limit_bytes(memory[1]) if memory and without_swap else None
    pages, total_swap = report.memory.pages, report.memory.total_swap
    if scope not in ("global", "sysrq") or page is None or total_swap is None:
        return None
    if not {"RAM", "reserved", "HighMem/MovableOnly"} <= pages.keys() or pages["reserved"] >= pages["RAM"]:
        return None
    return (pages["RAM"] - pages["reserved"]) * page + total_swap * KIB


def points(report: Report, killed: Killed, row: Row | None, page: int | None, limit: int | None) -> Points | None:
    """Compute the victim's badness from the table; that is printed after the choice, so it may differ a little."""
    if row is None:
        return None
    score = killed.oom_score_adj if killed.oom_score_adj is not None else row.oom_score_adj
    found = badness(row, score, page, limit)
    # Until 4.16 processes of the superuser had 3 % less; the log does not show which ones.
    return found if report.table and report.table.wide else replace(found, total=None)


def badness(row: Row, score: int | None, page: int | None, limit: int | None) -> Points:
    """Compute oom_badness() of a row, as far as its parts are known; `score` is oom_score_adj."""
    tables = row.page_tables
    if row.pgtables_bytes is not None:
        tables = row.pgtables_bytes // page if page else None
    adj = 0 if score == 0 else None
    if score and limit is not None and page is not None:
        adj = score * (limit // page // 1000)
    parts = (row.rss, row.swap, tables, adj)
    known = [part for part in parts if part is not None]
    total = sum(known) if len(known) == len(parts) else None
    return Points(total=total, rss=row.rss, swap=row.swap, page_tables=tables, adj=adj)
