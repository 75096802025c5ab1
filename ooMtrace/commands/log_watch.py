# SPDX-License-Identifier: Apache-2.0
"""What a log covers, whether it has kills or not: its period, and whether it is a kernel log at all. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from ooMtrace.kmsg.coverage import Coverage
from ooMtrace.kmsg.detect import AnyFormat
from ooMtrace.kmsg.encoding import to_text
from ooMtrace.kmsg.formats import LogLine

KILL_MARKS = (b"Killed process ", b"oom-kill:constraint=", b" or sacrifice child")
"""A line with one of them looks like a kill."""

SEAM = max(map(len, KILL_MARKS)) - 1
SAMPLE_LINES = 50
SAMPLE = 1 << 12
BINARY = bytes(set(range(32)) - set(b"\t\n\r\b\f\x1b"))
MAX_BINARY = 0.02
"""Of all bytes; a tenth of random bytes are such control characters."""

TAIL = 1 << 14
"""Bytes: a line of the journal as JSON has up to a few thousand."""

MAX_PREFIX = 1 << 12
MAX_EXAMPLE = 200
KERNEL_TAG = b" kernel: "


class LogWatch:
    """Watches the blocks of a log on their way to the scanner; only the lines at either end are parsed.

    Args:
        latest: No line is later; its zone is that of dates without a zone.

    Attributes:
        size: Bytes so far.
        kill_marks: How many lines look like kills; counted only until `count_marks` is cleared.
        count_marks: Whether to count them.
        coverage: The scanner's own account of what it understood.
        example: The first of them, shortened.
    """

    def __init__(self, latest: datetime) -> None:
        self._latest = latest
        self.size = 0
        self.kill_marks = 0
        self.count_marks = True
        self.coverage = Coverage()
        self.example = ""
        self._first: LogLine | None = None
        self._head = b""
        self._tail = b""
        self._last_tagged = b""

    def pass_on(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        """Pass the blocks on."""
        for block in blocks:
            self._add(block)
            yield block

    @property
    def first(self) -> LogLine | None:
        """The first line of the kernel that was recognized."""
        return self._first

    @property
    def is_text(self) -> bool:
        """Whether the beginning is text: zeros, as a power loss leaves them, and escape sequences may be in it."""
        head = self._head.replace(b"\0", b"")
        return len(head) - len(head.translate(None, BINARY)) <= len(head) * MAX_BINARY

    @property
    def last(self) -> LogLine | None:
        """The last line of the kernel that was recognized."""
        last = None
        for line in self._recognized([self._last_tagged, *self._tail.split(b"\n")[-SAMPLE_LINES:]]):
            last = line
        return last or self._first

    def _add(self, block: bytes) -> None:
        if self.count_marks:
            self._count_marks(block)
        if self._first is None:
            self._first = next(self._recognized(_first_lines(block)), None)
        if tagged := _line_at(block, block.rfind(KERNEL_TAG)):
            self._last_tagged = tagged
        self._tail = block[-TAIL:] if len(block) >= TAIL else (self._tail + block)[-TAIL:]
        self._head += block[: max(SAMPLE - self.size, 0)]
        self.size += len(block)

    def _count_marks(self, block: bytes) -> None:
        self.kill_marks += _count(block) + _count_across(self._tail[-SEAM:], block[:SEAM])
        if self.kill_marks and not self.example:
            seen = self._tail + block[: SEAM + TAIL] if _count(self._tail + block[:SEAM]) else block
            at = min(found for mark in KILL_MARKS if (found := seen.find(mark)) >= 0)
            self.example = _line_at(seen, at)[:MAX_EXAMPLE].decode("utf-8", "backslashreplace").strip()

    def _recognized(self, lines: Iterable[bytes]) -> Iterator[LogLine]:
        """Yield the kernel's among these lines; each may be of another format."""
        form = AnyFormat(self._latest)
        for raw in lines:
            line = form(to_text(raw[:MAX_PREFIX]))
            if line is not None and form.certain:
                yield line


def _count(text: bytes) -> int:
    return sum(map(text.count, KILL_MARKS))


def _count_across(end: bytes, beginning: bytes) -> int:
    """Count the marks that two blocks share."""
    return _count(end + beginning) - _count(end) - _count(beginning)


def _first_lines(block: bytes) -> list[bytes]:
    tagged = _line_at(block, block.find(KERNEL_TAG))
    lines = block[:TAIL].split(b"\n", SAMPLE_LINES)[:SAMPLE_LINES]
    return [*lines, tagged] if tagged else lines


def _line_at(block: bytes, at: int) -> bytes:
    """Return the whole line around a place; nothing if that is negative."""
    if at < 0:
        return b""
    end = block.find(b"\n", at)
    return block[block.rfind(b"\n", 0, at) + 1 : end if end >= 0 else len(block)]
