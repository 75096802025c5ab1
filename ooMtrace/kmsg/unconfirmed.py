# SPDX-License-Identifier: Apache-2.0
"""Kills of which the log has only the choice of the victim, not the line of the kill itself. Pure.

The kernel prints both at once, so the kill's line may be lost, but it may also follow in another report: a kill must
not give two records. So such a report is kept until the kill's line can no longer come.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from ooMtrace.kmsg.open_report import MAX_GAP_BEFORE_KILL_NS, MAX_IDLE_LINES_AFTER_KILL, is_within
from ooMtrace.kmsg.report import Killed, Report

MAX_UNCONFIRMED, MAX_LINES = 64, 100_000
"""Reports, and lines that they consist of; more are not kept at once."""

MAX_RECENT_KILLS = 8


@dataclass(frozen=True, slots=True)
class _Pending:
    """A report, and the number of the line after which it was complete."""

    report: Report
    since: int

    def may_be_of(self, killed: Killed) -> bool:
        """Return whether this kill may follow: other lines may stand in between, and the prefix may change."""
        chosen_at, line = self.report.kills[0].line, killed.line
        is_same_host = chosen_at.host == line.host or None in (chosen_at.host, line.host)
        is_same_boot = chosen_at.boot_id == line.boot_id or None in (chosen_at.boot_id, line.boot_id)
        return is_same_host and is_same_boot and is_within(chosen_at, line, MAX_GAP_BEFORE_KILL_NS)


class UnconfirmedKills:
    """Reports that name a victim but have no kill."""

    def __init__(self) -> None:
        self._pending: deque[_Pending] = deque()
        self._kills: deque[tuple[Killed, bool]] = deque(maxlen=MAX_RECENT_KILLS)
        """Recent ones that confirmed no report: theirs may still be open where not every line names its host.

        And whether their own reports name no victim.
        """
        self._lines = 0

    def __len__(self) -> int:
        """Return how many are kept."""
        return len(self._pending)

    def add(self, report: Report) -> Iterator[Report]:
        """Keep a complete report without kills if it names a victim; yield what is too much."""
        victim = _victim(report)
        if victim is None:
            return
        report.kills.append(victim)
        pending = _Pending(report, self._lines)
        for killed, unchosen in self._kills:
            is_its = _is_victim(killed, report) or (unchosen and _can_be_victim(killed, report))
            if is_its and pending.may_be_of(killed):
                self._kills.remove((killed, unchosen))
                return
        self._pending.append(pending)
        while len(self._pending) > MAX_UNCONFIRMED or (len(self._pending) > 1 and self._size() > MAX_LINES):
            yield self._pending.popleft().report

    def _size(self) -> int:
        return sum(kept.report.size for kept in self._pending)

    def confirm(self, killed: Killed, report: Report) -> None:
        """Drop the report whose victim this is: by its pid, or else the oldest one that it can be.

        Args:
            killed: The latest kill.
            report: The report to which it was added.
        """
        pending = [kept for kept in self._pending if kept.may_be_of(killed)]
        same = [kept for kept in pending if _is_victim(killed, kept.report)]
        unchosen = killed is report.kills[0] and report.selection.line is None
        if not same and unchosen:
            same = [kept for kept in pending if _can_be_victim(killed, kept.report)]
        if same:
            self._pending.remove(same[0])
        elif killed is report.kills[0] and not _is_victim(killed, report):
            self._kills.append((killed, unchosen))

    def expire(self) -> Iterator[Report]:
        """Count a line; yield the reports whose kill can no longer follow."""
        self._lines += 1
        while self._pending and self._lines - self._pending[0].since > MAX_IDLE_LINES_AFTER_KILL:
            yield self._pending.popleft().report

    def drain(self) -> Iterator[Report]:
        """Yield all: the log is at its end."""
        while self._pending:
            yield self._pending.popleft().report


def _victim(report: Report) -> Killed | None:
    """Return the process that was chosen; None if the report names none."""
    selection = report.selection
    line, summary, choice = selection.line, selection.summary, selection.choice
    if line is None:
        return None
    if choice:
        return Killed(line, choice.pid, choice.comm, choice.reason, {}, None, None, unconfirmed=True)
    if summary:
        return Killed(line, summary.pid, summary.comm, None, {}, summary.uid, None, unconfirmed=True)
    return None


def _is_victim(killed: Killed, report: Report) -> bool:
    row = report.table.row(killed.pid) if report.table else None
    selection = report.selection
    chosen = {named.pid for named in (selection.summary, selection.choice) if named}
    return killed.pid in chosen or (row is not None and row.tgid in chosen)


def _can_be_victim(killed: Killed, report: Report) -> bool:
    """Return whether a kill that does not have the pid of the choice may be its result.

    Until 5.0 the reason stands in the line of the choice, and a child of the chosen process may be killed. Later the
    summary names a process, and the kill one of its threads if others have exited.
    """
    selection = report.selection
    if selection.choice:
        return killed.reason is None
    is_memcg = killed.reason is not None and killed.reason.startswith("Memory cgroup")
    summary = selection.summary
    return summary is not None and killed.uid in (None, summary.uid) and is_memcg == selection.of_memcg
