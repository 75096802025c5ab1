# SPDX-License-Identifier: Apache-2.0
"""From lines of the kernel log to reports of OOM kills: line by line, in memory that does not grow with the log. Pure.

The kernel runs one OOM at a time (oom_lock) and prints it as header, stack, memory, table, summary and kills. Lines of
other CPUs stand in between; header to summary are rate-limited in a storm (oom_rs); logs are cut. So any part may be
absent, and a kill is added to a report only if nothing contradicts it; otherwise it becomes a report of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ooMtrace.kmsg import grammar
from ooMtrace.kmsg.formats import LogLine
from ooMtrace.kmsg.line_readers import Extend, Start, read_line
from ooMtrace.kmsg.report import Report

MAX_IDLE_LINES, MAX_IDLE_LINES_AFTER_KILL = 2000, 200
"""Consecutive lines that do not belong to a report before it is complete: stacks, free lists and slabs are long."""

MAX_GAP_NS, MAX_GAP_IN_GROUP_NS, MAX_GAP_BEFORE_KILL_NS = 60_000_000_000, 2_000_000_000, 3_000_000_000
"""The same by the kernel's clock. After a kill, from the report's last line: a group is killed at once, and a later
kill may belong to an OOM whose report was rate-limited; processes that share memory may be killed late. Before the
first kill: from one line of the log to the next."""

CLOCKS_APART_NS = 1_000_000_000
"""Two CPUs may stamp their lines out of order; a line that is earlier by more is of another boot."""

MAX_OPEN_REPORTS = 64
"""Several reports are open at once only where the log names who printed a line."""

MAX_HEAD = 4096
"""Characters of an interrupted line that are kept."""


class ReportParser:
    """Takes the log line by line and returns a report when nothing more can belong to it.

    Attributes:
        kill_count: Kills so far; the kernel prints one line for each that it counts.
    """

    def __init__(self) -> None:
        self.kill_count = 0
        self._open: dict[str | None, _OpenReport] = {}
        self._head = ""

    @property
    def idle(self) -> bool:
        """Whether only a line with one of grammar.MARKS can be part of a report."""
        return not self._open

    def feed(self, line: LogLine) -> Iterator[Report]:
        """Take a line; yield the reports that it completes."""
        yield from self._expire_idle(line)
        line = self._number_kill(self._join_continued(line))
        current = self._open.get(line.caller)
        result = read_line(line, current.report if current else None)
        if isinstance(result, Start):
            yield from self._start(line, result.report)
        elif isinstance(result, Extend) and current:
            current.last_line, current.idle_lines = line, 0

    def drain(self) -> Iterator[Report]:
        """Yield what is still open: the log is at its end."""
        for caller in list(self._open):
            yield from self._close(caller)

    def open_reports(self) -> Iterator[Report]:
        """Yield the reports to which more lines may be added."""
        return (current.report for current in self._open.values())

    def close_completed(self, nth: int) -> Iterator[Report]:
        """Yield the open reports that have kills, none of them later than the log's nth kill."""
        for caller, current in list(self._open.items()):
            if current.report.kills and current.report.last_nth <= nth:
                yield from self._close(caller)

    def _start(self, line: LogLine, report: Report) -> Iterator[Report]:
        """Open a report in place of the same caller's; where too many are open, the oldest is closed."""
        if line.caller in self._open:
            yield from self._close(line.caller)
        while len(self._open) >= MAX_OPEN_REPORTS:
            yield from self._close(next(iter(self._open)))
        self._open[line.caller] = _OpenReport(report, line)

    def _close(self, caller: str | None) -> Iterator[Report]:
        """Close a report; yield it if it has kills."""
        report = self._open.pop(caller).report
        report.interleaved |= report.contradicts_itself()
        if report.kills:
            yield report

    def _expire_idle(self, line: LogLine) -> Iterator[Report]:
        """Close the reports to which nothing was added for too long."""
        for caller, current in list(self._open.items()):
            if current.expires(line):
                yield from self._close(caller)

    def _number_kill(self, line: LogLine) -> LogLine:
        if "Killed process " not in line.text or not grammar.KILLED.match(line.text):
            return line
        self.kill_count += 1
        return replace(line, nth=self.kill_count)

    def _join_continued(self, line: LogLine) -> LogLine:
        """Join what pr_cont() printed in parts because another line came in between."""
        if self._head and line.text.startswith((",", grammar.LIMIT_OF)):
            line = replace(line, text=self._head + line.text)
        self._head = line.text[:MAX_HEAD] if line.text.startswith(("oom-kill:", "Task in ")) else self._head
        return line


@dataclass(slots=True)
class _OpenReport:
    """A report to which more lines may be added.

    Attributes:
        last_line: The last line that belongs to it.
        idle_lines: Lines since then.
        last_seen_ktime: The kernel's clock in the last line of the log, whether that belonged to the report or not.
    """

    report: Report
    last_line: LogLine
    idle_lines: int = 0
    last_seen_ktime: int | None = None

    def expires(self, line: LogLine) -> bool:
        """Count a line; return whether it is too late to belong to the report, by lines or by the kernel's clock."""
        self.idle_lines += 1
        previous, ktime = self.last_line.ktime, line.ktime
        if not self.report.kills:
            max_lines, max_gap = MAX_IDLE_LINES, MAX_GAP_BEFORE_KILL_NS
            previous = self.last_seen_ktime or previous
        else:
            max_lines = MAX_IDLE_LINES_AFTER_KILL
            max_gap = MAX_GAP_NS if self.report.group is None else MAX_GAP_IN_GROUP_NS
        self.last_seen_ktime = ktime
        if self.idle_lines > max_lines:
            return True
        return previous is not None and ktime is not None and not -CLOCKS_APART_NS <= ktime - previous <= max_gap
