# SPDX-License-Identifier: Apache-2.0
"""From blocks of bytes to kills: most lines of a log are not about kills and are skipped without parsing. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime

from ooMtrace.kmsg.continuation import KILL, continues, is_fine
from ooMtrace.kmsg.coverage import LOOKS_LIKE_KILL, Coverage
from ooMtrace.kmsg.detect import AnyFormat
from ooMtrace.kmsg.encoding import to_text, to_utf8, whole_lines
from ooMtrace.kmsg.formats import Format, LogLine
from ooMtrace.kmsg.grammar import CHOSEN, MARKS
from ooMtrace.kmsg.marks import MAX_TEXT, Marks
from ooMtrace.kmsg.report import Report
from ooMtrace.kmsg.report_parser import ReportParser
from ooMtrace.kmsg.to_record import Origin, to_records
from ooMtrace.record import OomKill, OomNoKill

TEXT_MARKS = tuple(mark.decode() for mark in MARKS)
BEHIND_SOMETHING = re.compile(
    r"^(?!(?:Memory cgroup o|O)ut of memory)[^'\"\n]{1,96}[\s:\])](?:[A-Z][^'\":]{0,32}: )?"
    r"Killed process [0-9]{1,10} \([^'\"]{1,60}\) total-vm:[0-9]{1,20}kB, anon-rss:[^'\"]*\Z"
)
"""A whole kill behind something unknown: no user's text, which the kernel quotes."""


def records(
    blocks: Iterable[bytes], origin: Origin, latest: datetime, coverage: Coverage | None = None
) -> Iterator[OomKill | OomNoKill]:
    """Yield the kills, and the OOMs without a kill, in a log of any format, in its order; memory does not grow with it.

    Args:
        blocks: The log, split anywhere.
        origin: What is known of the log besides its lines.
        latest: No line is later; its zone is that of dates without a zone.
        coverage: Filled with what could not be read; complete when the last record was yielded.
    """
    coverage = coverage if coverage is not None else Coverage()
    scanner = Scanner(AnyFormat(latest), coverage)
    for block in whole_lines(to_utf8(blocks)):
        for report in scanner.scan(block):
            yield from to_records(report, origin)
    for report in scanner.drain():
        yield from to_records(report, origin)


class Scanner:
    """Takes blocks of whole lines and parses as few of them as it can.

    Args:
        form: Reads a line.
        coverage: Filled with what was understood.
    """

    def __init__(self, form: Format, coverage: Coverage | None = None) -> None:
        self._form = form
        self._any = form if isinstance(form, AnyFormat) else None
        self._coverage = coverage if coverage is not None else Coverage()
        self._parser = ReportParser()
        self._held: LogLine | None = None
        self._relevant = self._whole = self._fine = False
        self._indent = 0
        self._number = 0

    def scan(self, block: bytes) -> Iterator[Report]:
        """Yield the reports that this block completes."""
        marks = Marks(block)
        start = 0
        while start < len(block):
            marked, needed = True, True
            if self._parser.idle and not (self._any and self._any.pending):
                next_mark = marks.after(start)
                marked = needed = next_mark == start
                if self._held is None:
                    (start, marked), needed = self._skip(block, start, next_mark), True
            end = _end(block, start)
            yield from self._take(to_text(block[start:end]), marked=marked, needed=needed)
            start = end + 1

    def _skip(self, block: bytes, start: int, next_mark: int) -> tuple[int, bool]:
        """Return the next line that is read, and whether it has a mark: the last one may continue in the next block."""
        following = next_mark
        if next_mark >= len(block):
            following = max(block.rfind(b"\n", start, len(block) - 1) + 1, start)
        if self._any:
            self._any.skipped(following - start)
        return following, following == next_mark

    @property
    def kill_count(self) -> int:
        """Kills in the lines so far, without the last one until `flush`."""
        return self._parser.kill_count

    def open_reports(self) -> Iterator[Report]:
        """Yield the reports to which more lines may be added."""
        return self._parser.open_reports()

    def close_completed(self, nth: int) -> Iterator[Report]:
        """Yield the open reports that have kills, none of them later than the log's nth kill."""
        return self._parser.close_completed(nth)

    def drain(self) -> Iterator[Report]:
        """Yield what is still open: the log is at its end."""
        yield from self._end_record()
        yield from self.flush()
        yield from self._parser.drain()

    def _end_record(self) -> Iterator[Report]:
        if self._any and (line := self._any.drain()) is not None:
            yield from self.flush()
            self._hold(line, line.text, marked=False)

    def flush(self) -> Iterator[Report]:
        """Regard the last line as complete; yield the report that it completes."""
        if self._held is None:
            return
        held, self._held = self._held, None
        if self._relevant or not self._parser.idle:
            before = self._parser.kill_count
            yield from self._parser.feed(held)
            if "Kill" in held.text and self._parser.kill_count == before and _is_unread_kill(held.text):
                self._coverage.add_unrecognized(held.text)

    def _take(self, text: str, *, marked: bool, needed: bool) -> Iterator[Report]:
        """Hold each line that may be needed until the next one shows that it was complete."""
        self._number += marked or not self._parser.idle
        if self._any and self._any.is_interrupted(text):
            yield from self._end_record()
        line = self._form(text)
        line = None if line is not None and len(line.text) > MAX_TEXT else line
        if self._join(text, line):
            self._relevant |= marked
            return
        yield from self.flush()
        if line is not None and (needed or not self._parser.idle or _is_marked(line.text)):
            self._hold(line, text, marked=marked)
        self._count(text, line)

    def _hold(self, line: LogLine, text: str, *, marked: bool) -> None:
        is_dated = line.wall is not None and line.host is not None
        self._held = line if is_dated else replace(line, number=self._number)
        self._relevant = marked or _is_marked(line.text)
        self._whole = self._any is None or self._any.whole
        self._fine |= is_fine(line)
        indent = len(text) - len(line.text) if text.endswith(line.text) else 0
        self._indent = indent if text[:indent].strip() else 0

    def _join(self, text: str, line: LogLine | None) -> bool:
        """Join the rest of a record to the line that is held; return whether it is that.

        dmesg and journalctl print a newline in a name as a newline, and the rest below the text: indented, without a
        stamp. For other readers see `continues`.
        """
        held = self._held
        if held is None:
            return False
        if line is None and self._indent and text.startswith(" " * self._indent):
            rest = text[self._indent :]
        elif line is not None and not self._whole and continues(held, line, fine=self._fine):
            rest = line.text
        else:
            return False
        if len(held.text) < MAX_TEXT:
            self._held = replace(held, text=f"{held.text}\n{rest}")
        return True

    def _count(self, text: str, line: LogLine | None) -> None:
        """Count a line of the kernel, and one that looks like a kill but whose writer is unknown."""
        if self._any and line is not None and self._any.certain:
            if "Kill" in line.text and BEHIND_SOMETHING.match(line.text):
                self._coverage.add_unrecognized(text)
        elif (
            self._any
            and self._any.unknown
            and "Kill" in text
            and LOOKS_LIKE_KILL.search(text)
            and not (line and KILL.match(line.text))
        ):
            self._coverage.add_unrecognized(text)


def _is_unread_kill(text: str) -> bool:
    """Say whether this text begins like a kill; until 5.0 the kernel announced its choice in nearly the same words."""
    return "sharing same" not in text and KILL.match(text) is not None and CHOSEN.match(text) is None


def _is_marked(text: str) -> bool:
    return any(mark in text for mark in TEXT_MARKS)


def _end(block: bytes, start: int) -> int:
    end = block.find(b"\n", start)
    return len(block) if end < 0 else end
