# SPDX-License-Identifier: Apache-2.0
"""From lines of the kernel log to reports of OOM kills: line by line, in memory that does not grow with the log. Pure.

The kernel runs one OOM at a time (oom_lock) and prints it as header, stack, memory, table, summary and kills. Lines of
other CPUs stand in between; header to summary are rate-limited in a storm (oom_rs); logs are cut. So any part may be
absent, and a kill is added to a report only if nothing contradicts it; otherwise it becomes a report of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ooMtrace.kmsg import grammar
from ooMtrace.kmsg.formats import LogLine
from ooMtrace.kmsg.line_readers import Extend, Ignore, Start, read_line
from ooMtrace.kmsg.open_report import MAX_GAP_BEFORE_KILL_NS, OpenReport, is_within
from ooMtrace.kmsg.report import Report
from ooMtrace.kmsg.unconfirmed import UnconfirmedKills

_Author = tuple[str | None, str | None, str | None]
"""Host, boot and caller, as far as the log has them."""

MAX_OPEN_REPORTS = 64
"""Several reports are open at once only where the log names who printed a line, or several hosts."""

MAX_OPEN_LINES = 200_000
"""Rows of tables and kills that are kept at once: some hundred bytes each. A report has at most half of them rows."""

MAX_HEAD = 4096
"""Characters of an interrupted line that are kept."""


class ReportParser:
    """Takes the log line by line and returns a report when nothing more can belong to it.

    Attributes:
        kill_count: Kills so far; the kernel prints one line for each that it counts.
    """

    def __init__(self) -> None:
        self.kill_count = 0
        self._open: dict[_Author, OpenReport] = {}
        self._open_lines = 0
        """Lines that were added to the open reports, and perhaps to some that are closed."""
        self._unconfirmed = UnconfirmedKills()
        self._heads: dict[_Author, LogLine] = {}

    @property
    def idle(self) -> bool:
        """Whether only a line with one of grammar.MARKS can be part of a report."""
        return not self._open and not self._unconfirmed

    def feed(self, line: LogLine) -> Iterator[Report]:
        """Take a line; yield the reports that it completes."""
        line = self._join_continued(_stripped(line))
        yield from self._expire_idle(line)
        line, author = self._number_kill(line), _author(line)
        current = self._open.get(author)
        result = read_line(line, current.report if current else None)
        if isinstance(result, Start):
            yield from self._start(line, result.report)
        elif isinstance(result, Extend) and current:
            current.extend(line)
        if not isinstance(result, Ignore):
            yield from self._limit(author)
        if line.nth:
            self._confirm(line, author)

    def drain(self) -> Iterator[Report]:
        """Yield what is still open: the log is at its end."""
        for author in list(self._open):
            yield from self._close(author)
        yield from self._unconfirmed.drain()

    def open_reports(self) -> Iterator[Report]:
        """Yield the reports to which more lines may be added."""
        return (current.report for current in self._open.values())

    def close_completed(self, nth: int) -> Iterator[Report]:
        """Yield the open reports that have kills, none of them later than the log's nth kill."""
        for author, current in list(self._open.items()):
            if current.report.kills and current.report.last_nth <= nth:
                yield from self._close(author)

    def _start(self, line: LogLine, report: Report) -> Iterator[Report]:
        """Open a report in place of the same author's; where too many are open, the oldest is closed."""
        author = _author(line)
        if author in self._open:
            yield from self._close(author)
        while len(self._open) >= MAX_OPEN_REPORTS:
            yield from self._close(next(iter(self._open)))
        self._open[author] = OpenReport(report, line)

    def _limit(self, author: _Author) -> Iterator[Report]:
        """Close the report to which a line was added if that was its end, or the oldest other if too much is open."""
        if self._open[author].report.no_kill:
            yield from self._close(author)
            return
        self._open_lines += 1
        if self._open_lines > MAX_OPEN_LINES:
            oldest = next((other for other in self._open if other != author), None)
            if oldest is not None and self._size() > MAX_OPEN_LINES:
                yield from self._close(oldest)
            self._open_lines = self._size()

    def _size(self) -> int:
        return sum(current.report.size for current in self._open.values())

    def _close(self, author: _Author) -> Iterator[Report]:
        """Close a report; yield it if its end is known, or later if it only names a victim."""
        report = self._open.pop(author).report
        report.interleaved |= report.contradicts_itself()
        if report.kills or report.no_kill:
            yield report
        else:
            yield from self._unconfirmed.add(report)

    def _expire_idle(self, line: LogLine) -> Iterator[Report]:
        """Close the reports to which nothing was added for too long."""
        yield from self._unconfirmed.expire()
        for author, current in list(self._open.items()):
            if current.expires(line):
                yield from self._close(author)

    def _number_kill(self, line: LogLine) -> LogLine:
        if grammar.parse_kill(line.text) is None:
            return line
        self.kill_count += 1
        return replace(line, nth=self.kill_count)

    def _confirm(self, line: LogLine, author: _Author) -> None:
        """Look for the choice of this kill in the reports that were closed without a kill."""
        report = self._open[author].report
        if report.kills and report.kills[-1].line is line:
            self._unconfirmed.confirm(report.kills[-1], report)

    def _join_continued(self, line: LogLine) -> LogLine:
        """Join what pr_cont() printed in parts because another line came in between."""
        author = _author(line)
        head = self._heads.get(author)
        if head and line.text.startswith((",", grammar.LIMIT_OF)) and is_within(head, line, MAX_GAP_BEFORE_KILL_NS):
            line = replace(line, text=head.text + line.text)
        if line.text.startswith(("oom-kill:", "Task in ")):
            self._heads.pop(author, None)
            self._heads[author] = replace(line, text=line.text[:MAX_HEAD])
            if len(self._heads) > MAX_OPEN_REPORTS:
                self._heads.pop(next(iter(self._heads)))
        return line


def _author(line: LogLine) -> _Author:
    """Return who printed a line: lines of different authors are not of one report."""
    return line.host, line.boot_id, line.caller


def _stripped(line: LogLine) -> LogLine:
    """Remove blanks at the end, as copied from a terminal: no line of the kernel has any."""
    return replace(line, text=line.text.rstrip(" \t")) if line.text.endswith((" ", "\t")) else line
