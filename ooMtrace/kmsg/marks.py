# SPDX-License-Identifier: Apache-2.0
"""Finds the lines of a block that may be about a kill, and where the records begin that they are part of. Pure."""

from __future__ import annotations

import re

from ooMtrace.kmsg.encoding import FIELD, MAX_RECORD
from ooMtrace.kmsg.grammar import JSON_MARKS, MARKS

MAX_TEXT = 8192
"""Characters; no record of the kernel log is longer."""

JOURNAL = b'"MESS'
"""A log in the journal's JSON has it; short for the same reason as grammar.MARKS."""

STAMP = re.compile(rb"\[ *\d{1,10}\.\d{6}\]")
STAMPED = re.compile(rb"\[ *\d{1,10}\.\d|\d\d:\d\d|kernel|;")
HEAD = 160
"""Bytes in which the prefix of a line ends, mostly."""


class Marks:
    """Finds the next mark; the block is searched only once for each."""

    def __init__(self, block: bytes) -> None:
        self._block = block
        self._next = dict.fromkeys(JSON_MARKS if JOURNAL in block else MARKS, -1)
        self._at = self._begin = -1
        """The mark that was found last, and where its record begins: looking back each time takes quadratic time."""

    def after(self, start: int) -> int:
        """Return the beginning of the first record from `start` on that has a mark; the block's length if none has."""
        for mark, at in self._next.items():
            if at < start:
                found = self._block.find(mark, start)
                self._next[mark] = len(self._block) if found < 0 else found
        at = min(self._next.values())
        if at == len(self._block):
            return at
        if at != self._at:
            self._at, self._begin = at, self._beginning(start, at)
        return max(self._begin, start)

    def _beginning(self, start: int, at: int) -> int:
        """Return where the line begins; if it may be the rest of a record, where that does."""
        begin = self._line(start, at)
        if FIELD.match(self._block, begin):
            return self._of_fields(start, begin)
        head = self._block[begin : begin + HEAD]
        stamp = STAMP.search(head)
        while start < begin and at - begin < MAX_TEXT and self._continues(head, stamp and stamp[0]):
            before = self._line(start, begin - 1)
            head = self._block[before : min(before + HEAD, begin)]
            if stamp and stamp[0] not in head:
                break
            begin = before
        return begin

    def _line(self, start: int, at: int) -> int:
        return self._block.rfind(b"\n", start, at) + 1 or start

    @staticmethod
    def _continues(head: bytes, stamp: bytes | None) -> bool:
        return stamp is not None or head.startswith(b"  ") or not STAMPED.search(head)

    def _of_fields(self, start: int, begin: int) -> int:
        """Return where a record with fields begins: at a line that is not one, such as `{` or a blank line."""
        at = begin
        while start < begin and at - begin < MAX_RECORD:
            begin = self._line(start, begin - 1)
            if not FIELD.match(self._block, begin):
                break
        return begin
