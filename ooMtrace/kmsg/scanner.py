# SPDX-License-Identifier: Apache-2.0
"""From blocks of bytes to kills: most lines of a log are not about kills and are skipped without parsing. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from itertools import chain

from ooMtrace.kmsg.formats import Format, Json, LogLine, detect, formats
from ooMtrace.kmsg.grammar import JSON_MARKS, MARKS
from ooMtrace.kmsg.report import Report
from ooMtrace.kmsg.report_parser import ReportParser
from ooMtrace.kmsg.to_record import Origin, to_records
from ooMtrace.record import OomKill

MAX_LINE = 1 << 20
"""Bytes; the rest of a longer line is read as a line of its own."""

MAX_TEXT = 8192
"""Characters; no record of the kernel log is longer."""

SAMPLE, SAMPLE_LINES = 1 << 16, 400
"""Bytes and lines from which the format is detected."""

MARKED_SAMPLE = 1 << 20
"""Bytes that are searched for lines with a mark, which vote on the format, too."""


def kills(blocks: Iterable[bytes], origin: Origin, latest: datetime) -> Iterator[OomKill]:
    """Yield the kills in a log of any format, in the order of the log; memory does not grow with it.

    Args:
        blocks: The log, split anywhere.
        origin: What is known of the log besides its lines.
        latest: No line is later; its zone is that of dates without a zone.
    """
    known = formats(latest)
    whole = _whole_lines(blocks)
    first = b""
    while len(first) < SAMPLE and (block := next(whole, b"")):
        first += block
    scanner = Scanner(_detect(first, known))
    for block in chain((first,), whole):
        for report in scanner.scan(block):
            yield from to_records(report, origin)
    for report in scanner.drain():
        yield from to_records(report, origin)


class Scanner:
    """Takes blocks of whole lines and parses as few of them as it can."""

    def __init__(self, form: Format) -> None:
        self._form = form
        self._everything = isinstance(form, Json) and form.multiline
        self._marks = JSON_MARKS if isinstance(form, Json) else MARKS
        self._parser = ReportParser()
        self._held: LogLine | None = None
        self._indent = 0
        self._number = 0

    def scan(self, block: bytes) -> Iterator[Report]:
        """Yield the reports that this block completes."""
        marks = _Marks(block, self._marks)
        start = 0
        while start < len(block):
            marked = True
            if self._parser.idle and not self._everything:
                next_mark = marks.after(start)
                marked = next_mark == start
                if self._held is None:
                    start, marked = next_mark, True
                if start >= len(block):
                    return
            end = _end(block, start)
            yield from self._take(_text(block[start:end]), marked=marked)
            start = end + 1

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
        yield from self.flush()
        yield from self._parser.drain()

    def flush(self) -> Iterator[Report]:
        """Regard the last line as complete; yield the report that it completes."""
        if self._held is not None:
            held, self._held = self._held, None
            yield from self._parser.feed(held)

    def _take(self, text: str, *, marked: bool) -> Iterator[Report]:
        """Hold each line until the next one shows that it was complete.

        dmesg and journalctl print a newline in a name as a newline, and the rest below the text: indented, without a
        stamp.
        """
        self._number += 1
        line = self._form(text)
        if line is None and self._held is not None and self._indent and text.startswith(" " * self._indent):
            if len(self._held.text) < MAX_TEXT:
                self._held = replace(self._held, text=f"{self._held.text}\n{text[self._indent :]}")
            return
        yield from self.flush()
        if line is not None and len(line.text) <= MAX_TEXT and (marked or not self._parser.idle):
            timeless = line.ktime is None and line.wall is None
            self._held = replace(line, number=self._number) if timeless else line
            self._indent = len(text) - len(line.text) if text.endswith(line.text) else 0


def _detect(block: bytes, known: tuple[Format, ...]) -> Format:
    """Detect the format from the first lines and from those with a mark: a log may begin with something else."""
    lines = block[:SAMPLE].split(b"\n", SAMPLE_LINES)[:SAMPLE_LINES]
    marked = [block[start:end] for start, end in _marked(block[:MARKED_SAMPLE])][:SAMPLE_LINES]
    return detect((_text(line) for line in (*lines, *marked) if line), known)


def _text(line: bytes) -> str:
    return line.rstrip(b"\r").decode("utf-8", "backslashreplace")


def _whole_lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Split blocks at the ends of lines."""
    rest = b""
    for block in blocks:
        end = block.rfind(b"\n") + 1
        if end:
            yield rest + block[:end]
            rest = block[end:]
        else:
            rest += block
        if len(rest) > MAX_LINE:
            yield rest
            rest = b""
    if rest:
        yield rest


def _marked(block: bytes) -> Iterator[tuple[int, int]]:
    """Yield the beginnings and ends of lines with a mark."""
    marks = _Marks(block, MARKS)
    start = 0
    while (start := marks.after(start)) < len(block):
        end = _end(block, start)
        yield start, end
        start = end + 1


class _Marks:
    """Finds the next mark; the block is searched only once for each."""

    def __init__(self, block: bytes, marks: tuple[bytes, ...]) -> None:
        self._block = block
        self._next = dict.fromkeys(marks, -1)

    def after(self, start: int) -> int:
        """Return the beginning of the first line from `start` on that has a mark; the block's length if none has."""
        for mark, at in self._next.items():
            if at < start:
                found = self._block.find(mark, start)
                self._next[mark] = len(self._block) if found < 0 else found
        at = min(self._next.values())
        return at if at == len(self._block) else self._beginning(start, at)

    def _beginning(self, start: int, at: int) -> int:
        """Return where the line begins; if it may be the rest of a name with a newline, where the line before does."""
        begin = self._block.rfind(b"\n", start, at) + 1 or start
        while start < begin and self._block.startswith(b"  ", begin) and at - begin < MAX_TEXT:
            begin = self._block.rfind(b"\n", start, begin - 1) + 1 or start
        return begin


def _end(block: bytes, start: int) -> int:
    end = block.find(b"\n", start)
    return len(block) if end < 0 else end
