# SPDX-License-Identifier: Apache-2.0
"""The processes that the kernel weighed, from its table of tasks. Pure.

The table is printed after the choice, and has processes that cannot be killed, too (oom_score_adj -1000).
"""

from __future__ import annotations

from heapq import nlargest

from ooMtrace.kmsg.badness import badness
from ooMtrace.kmsg.report import Killed, Report
from ooMtrace.kmsg.task_table import Row
from ooMtrace.record import Candidate

MAX_CANDIDATES = 10
"""As many as the probes report."""

UNKILLABLE = -1000


def weighed_rows(report: Report, killed: Killed) -> list[Row] | None:
    """Return the rows of the processes that could be killed.

    Returns:
        None if this is not the process that the kernel chose among them, or if a row is damaged. Nothing is chosen
        with vm.oom_kill_allocating_task. Until 4.16 processes of the superuser had fewer points; the table's first
        column is wide from 4.19 on.
    """
    if report.table is None or not report.table.wide or not is_chosen(report, killed):
        return None
    rows = report.table.all_rows() if report.table.row(killed.pid) else None
    return None if rows is None else [row for row in rows if row.oom_score_adj != UNKILLABLE]


def candidates(rows: list[Row], killed: Killed, page: int | None, limit: int | None) -> tuple[Candidate, ...] | None:
    """Return those with the most points, the chosen one first; None if the points of any are unknown."""
    if page is None:
        return None
    known = [_candidate(row, page, limit) for row in rows]
    complete = [candidate for candidate in known if candidate is not None]
    if len(complete) < len(known):
        return None
    chosen = next((candidate for row, candidate in zip(rows, complete, strict=True) if row.pid == killed.pid), None)
    if chosen is None:
        return None
    # Until 5.8 points are at least 1, whatever the sum is. Of equal points the kernel chooses the last one.
    others = (candidate for candidate in reversed(complete) if candidate is not chosen and _points(candidate) > 0)
    return chosen, *nlargest(MAX_CANDIDATES - 1, others, key=_points)


def _points(candidate: Candidate) -> int:
    return candidate.points or 0


def _candidate(row: Row, page: int, limit: int | None) -> Candidate | None:
    points = badness(row, row.oom_score_adj, page, limit)
    if points.total is None or points.adj is None:
        return None
    memory = (points.total - points.adj) * page
    return Candidate(
        pid=row.tgid, comm=row.name, points=points.total, oom_score_adj=row.oom_score_adj, memory=memory, cgroup=None
    )


def is_chosen(report: Report, killed: Killed) -> bool:
    """Return whether the kernel chose this process among the candidates and then killed it, no child of it."""
    if killed is not report.kills[0] or killed.sharing or "allocating_task" in (killed.reason or ""):
        return False
    row = report.table.row(killed.pid) if report.table else None
    named = report.selection.choice or report.selection.summary
    return named is not None and named.pid in (killed.pid, row.tgid if row else None)
