# SPDX-License-Identifier: Apache-2.0
"""What was out of memory, and how the kernel weighed: worked out from several numbers of a report. Pure."""

from __future__ import annotations

from ooMtrace.kmsg.report import SYSRQ_ORDER, Killed, Report
from ooMtrace.kmsg.task_table import Row
from ooMtrace.record import SCOPES, Points, Scope

KIB = 1024
UNLIMITED_KB, UNLIMITED_32_KB = 1 << 52, 0x7FFFFFFF * 4
"""PAGE_COUNTER_MAX: printed as 9007199254740988kB or, with larger pages, as about as much; as the other on 32 bits."""

PAGE_SIZES = (4096, 8192, 16384, 32768, 65536)


def kilobytes(limit: int) -> int | None:
    """Return a limit in bytes; None if there is none."""
    return None if limit >= UNLIMITED_KB or limit == UNLIMITED_32_KB else limit * KIB


def page_size(killed: Killed, row: Row | None) -> int | None:
    """Tell the size of a page: the same address space is in pages in the table and in kilobytes in the kill."""
    size = killed.size.get("total_vm")
    if row is None or not row.total_vm or not size:
        return None
    page = size * KIB / row.total_vm
    return int(page) if page in PAGE_SIZES else None


def scope(report: Report, killed: Killed) -> tuple[Scope | None, bool]:
    """Tell what was out of memory, and whether that was worked out.

    Only the header tells a request by sysrq from a host without memory, for both are CONSTRAINT_NONE.
    Before 5.0 no line names the constraint. Nothing was constrained where the task was in the root cpuset and no
    nodemask was given, or there was but one node to choose.
    """
    if report.header and report.header.order == SYSRQ_ORDER:
        return "sysrq", False
    if report.summary:
        scope = SCOPES.get(report.summary.constraint)
        return (None if scope == "global" and report.header is None else scope), False
    if report.task_in or (killed.why or "").startswith("Memory cgroup"):
        return "memcg", False
    cpuset, mems = report.cpuset or ("", "")
    everywhere = (report.header is not None and report.header.nodemask == "(null)") or mems.isdigit()
    return ("global", True) if cpuset == "/" and everywhere and killed.why else (None, False)


def limit(report: Report, scope: Scope | None, page: int | None) -> int | None:
    """Work out `totalpages`, constrained_alloc(), in bytes, where the log has all that it is made of.

    Of a memory cgroup it is the limit and as much swap as may be used: known only where that is none. Of the machine
    it is what the zones manage (RAM less what is reserved; in these words since 3.16) and all swap.
    """
    if scope == "memcg":
        memory, swap, both = (report.usage.get(name) for name in ("memory", "swap", "memory+swap"))
        without_swap = (swap and swap[1] == 0) or (memory and both and both[1] == memory[1])
        return kilobytes(memory[1]) if memory and without_swap else None
    pages = report.pages
    if scope not in ("global", "sysrq") or page is None or report.total_swap is None:
        return None
    if not {"RAM", "reserved", "HighMem/MovableOnly"} <= pages.keys():
        return None
    return (pages["RAM"] - pages["reserved"]) * page + report.total_swap * KIB


def points(report: Report, killed: Killed, row: Row | None, page: int | None, limit: int | None) -> Points | None:
    """Reckon oom_badness() from the table, which is printed after the choice: the numbers may have moved a little."""
    if row is None:
        return None
    tables = row.page_tables
    if row.pgtables_bytes is not None:
        tables = row.pgtables_bytes // page if page else None
    score = killed.oom_score_adj if killed.oom_score_adj is not None else row.oom_score_adj
    adj = 0 if score == 0 else None
    if score and limit is not None and page is not None:
        adj = score * (limit // page // 1000)
    parts = (row.rss, row.swap, tables, adj)
    known = [part for part in parts if part is not None]
    # Until 4.16 the superuser's processes had 3 % less, and nothing tells whose was.
    total = sum(known) if len(known) == len(parts) and report.table and report.table.wide else None
    return Points(total=total, rss=row.rss, swap=row.swap, page_tables=tables, adj=adj)
