# SPDX-License-Identifier: Apache-2.0
"""A report to which more lines may be added, and when it is too late for that. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from ooMtrace.kmsg.formats import LogLine
from ooMtrace.kmsg.report import Report

MAX_IDLE_LINES, MAX_IDLE_LINES_AFTER_KILL = 2000, 200
"""Consecutive lines that do not belong to a report before it is complete: stacks, free lists and slabs are long."""

MAX_FOREIGN_LINES = 20_000
"""The same for lines of other hosts and boots, whose clocks say nothing about this report."""

MAX_GAP_NS, MAX_GAP_IN_GROUP_NS, MAX_GAP_BEFORE_KILL_NS = 3_000_000_000, 2_000_000_000, 3_000_000_000
"""The same by the clock. After a kill, from the report's last line: the kernel prints groups and processes that share
memory at once, and a later kill may belong to an OOM whose report was rate-limited. Before the first kill: from one
line of the log to the next, because a slow console stretches a report."""

MAX_GAP_IN_REPORT_NS = 5_000_000_000
"""Before the first kill, from the report's last line, whatever other lines are in between."""

CLOCKS_APART_NS = 1_000_000_000
"""Two CPUs may stamp their lines out of order; a line that is earlier by more is of another boot."""

MAX_READ_DELAY_NS = 60_000_000_000
"""Where the kernel's clock is known: a log daemon may stamp its lines late while memory is short."""

BOOT = "Linux version "
"""The first line of a boot."""


@dataclass(slots=True)
class OpenReport:
    """A report to which more lines may be added.

    Attributes:
        last_line: The last line that belongs to it.
        idle_lines: Lines of the same host since then.
        foreign_lines: Lines of other hosts or boots since then.
        last_dated: The last line of the same host with a time, whether it belonged to the report or not.
    """

    report: Report
    last_line: LogLine
    idle_lines: int = 0
    foreign_lines: int = 0
    last_dated: LogLine | None = None

    def extend(self, line: LogLine) -> None:
        """Count from this line, which belongs to the report."""
        self.last_line, self.idle_lines, self.foreign_lines = line, 0, 0

    def expires(self, line: LogLine) -> bool:
        """Count a line; return whether it is too late to belong to the report, by lines or by the clock."""
        if not is_same_boot(self.last_line, line):
            self.foreign_lines += 1
            return self.foreign_lines > MAX_FOREIGN_LINES
        self.idle_lines += 1
        previous, self.last_dated = self.last_dated or self.last_line, _dated(line) or self.last_dated
        if line.text.startswith(BOOT):
            return True
        return self._expires_after_kill(line) if self.report.kills else self._expires_before_kill(previous, line)

    def _expires_before_kill(self, previous: LogLine, line: LogLine) -> bool:
        is_close = is_within(previous, line, MAX_GAP_BEFORE_KILL_NS)
        return (
            self.idle_lines > MAX_IDLE_LINES
            or not is_close
            or not is_within(self.last_line, line, MAX_GAP_IN_REPORT_NS)
        )

    def _expires_after_kill(self, line: LogLine) -> bool:
        max_gap = MAX_GAP_NS if self.report.group is None else MAX_GAP_IN_GROUP_NS
        return self.idle_lines > MAX_IDLE_LINES_AFTER_KILL or not is_within(self.last_line, line, max_gap)


def is_same_boot(first: LogLine, second: LogLine) -> bool:
    """Return whether two lines are of the same host and boot, as far as the log names them."""
    return first.host == second.host and first.boot_id == second.boot_id


def is_within(first: LogLine, second: LogLine, max_gap: int) -> bool:
    """Return whether the second line is at most `max_gap` ns later, by the clocks that both have.

    Lines with different clocks are of different logs, which somebody has concatenated.
    """
    earliest = -CLOCKS_APART_NS
    if first.ktime is not None and second.ktime is not None:
        if not earliest <= second.ktime - first.ktime <= max_gap:
            return False
        earliest, max_gap = -MAX_READ_DELAY_NS, MAX_READ_DELAY_NS
    if first.wall is not None and second.wall is not None:
        return earliest <= second.wall - first.wall <= max_gap
    has_common_clock = first.ktime is not None and second.ktime is not None
    return has_common_clock or not (_dated(first) and _dated(second))


def _dated(line: LogLine) -> LogLine | None:
    return None if line.ktime is None and line.wall is None else line
