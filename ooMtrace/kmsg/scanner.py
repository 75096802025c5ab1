# SPDX-License-Identifier: Apache-2.0
"""From blocks of bytes to kills: most of a log has nothing to say and is passed over, not taken apart. Pure."""

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

LONGEST_LINE = 1 << 20
"""Bytes; of a longer line the rest is read as a line of its own, in which no sentence begins at its beginning."""

LONGEST_TEXT = 8192
"""Characters of one record of the kernel log, and more: what is longer is not the kernel's."""

SAMPLE, SAMPLE_LINES = 1 << 16, 400
"""Bytes and lines that are looked at to find the format."""


def kills(blocks: Iterable[bytes], origin: Origin, latest: datetime) -> Iterator[OomKill]:
    """Yield the kills in a log of any format, in its order; memory does not grow with the log.

    Args:
        blocks: The log, cut anywhere.
        origin: What is known beside.
        latest: No line is younger; its zone is that of dates without one.
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
    """Takes blocks of whole lines, of which it takes apart as few as it can."""

    def __init__(self, form: Format) -> None:
        self._form = form
        self._everything = isinstance(form, Json) and form.spread
        self._marks = JSON_MARKS if isinstance(form, Json) else MARKS
        self._reader = ReportParser()
        self._held: LogLine | None = None
        self._indent = 0
        self._number = 0

    def scan(self, block: bytes) -> Iterator[Report]:
        """Yield the reports that end here."""
        marks = _Marks(block, self._marks)
        start = 0
        while start < len(block):
            marked = True
            if self._reader.idle and not self._everything:
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
    def killed(self) -> int:
        """How many kills there were in the lines so far, but for the last one."""
        return self._reader.killed

    def heard(self) -> Iterator[Report]:
        """Yield the reports that may go on."""
        yield from self._reader.heard()

    def settle(self) -> Iterator[Report]:
        """Yield what tells of a kill: nothing has followed for so long that nothing will."""
        yield from self.flush()
        yield from self._reader.settle()

    def drain(self) -> Iterator[Report]:
        """Yield what is still open."""
        yield from self.flush()
        yield from self._reader.drain()

    def flush(self) -> Iterator[Report]:
        """Take the last line for whole; yield the report that it ends."""
        if self._held is not None:
            held, self._held = self._held, None
            yield from self._reader.feed(held)

    def _take(self, text: str, *, marked: bool) -> Iterator[Report]:
        """Hold each line until the next shows that it was whole.

        dmesg and journalctl print a newline in a name as one, and what follows it below the text: indented, without
        any stamp.
        """
        self._number += 1
        line = self._form(text)
        if line is None and self._held is not None and self._indent and text.startswith(" " * self._indent):
            if len(self._held.text) < LONGEST_TEXT:
                self._held = replace(self._held, text=f"{self._held.text}\n{text[self._indent :]}")
            return
        if self._held is not None:
            held, self._held = self._held, None
            yield from self._reader.feed(held)
        if line is not None and len(line.text) <= LONGEST_TEXT and (marked or not self._reader.idle):
            timeless = line.ktime is None and line.wall is None
            self._held = replace(line, number=self._number) if timeless else line
            self._indent = len(text) - len(line.text) if text.endswith(line.text) else 0


def _detect(block: bytes, known: tuple[Format, ...]) -> Format:
    """Look at the beginning, and at what a mark stands in: a log may begin with something else."""
    lines = block[:SAMPLE].split(b"\n", SAMPLE_LINES)[:SAMPLE_LINES]
    marked = [block[start:end] for start, end in _marked(block[: 1 << 20])][:SAMPLE_LINES]
    return detect((_text(line) for line in (*lines, *marked) if line), known)


def _text(line: bytes) -> str:
    return line.rstrip(b"\r").decode("utf-8", "backslashreplace")


def _whole_lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Cut blocks at the ends of lines."""
    rest = b""
    for block in blocks:
        end = block.rfind(b"\n") + 1
        if end:
            yield rest + block[:end]
            rest = block[end:]
        else:
            rest += block
        if len(rest) > LONGEST_LINE:
            yield rest
            rest = b""
    if rest:
        yield rest


def _marked(block: bytes) -> Iterator[tuple[int, int]]:
    """Yield where lines with a mark begin and end."""
    marks = _Marks(block, MARKS)
    start = 0
    while (start := marks.after(start)) < len(block):
        end = _end(block, start)
        yield start, end
        start = end + 1


class _Marks:
    """Where the next mark is: each is looked for once, however often one asks."""

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
        """Go back to where the line begins and, of what may be the rest of a name with a newline, the line before."""
        begin = self._block.rfind(b"\n", start, at) + 1 or start
        while start < begin and self._block.startswith(b"  ", begin) and at - begin < LONGEST_TEXT:
            begin = self._block.rfind(b"\n", start, begin - 1) + 1 or start
        return begin


def _end(block: bytes, start: int) -> int:
    end = block.find(b"\n", start)
    return len(block) if end < 0 else end
