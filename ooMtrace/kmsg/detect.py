# SPDX-License-Identifier: Apache-2.0
"""Reads each line of a log in the format that it has: files are concatenated, and formats change within them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from ooMtrace.kmsg.formats import Dated, LogLine, dmesg, kmsg
from ooMtrace.kmsg.journal import Message, Records, message, parse_json
from ooMtrace.kmsg.prefix import SENTENCE, SENTENCES, Prefixes

MAX_BARE_GAP = 8192
"""Characters after a line with a time in which a line without one can be the rest of that line."""

MAX_LENGTH = 1 << 16
"""Characters of a line that are read."""

RESTLESS = re.compile(rf"(?!kernel:|message repeated|<\d|c\d{{1,3}} | {{0,8}}\.?\(\d+\)\[| {{1,8}}{SENTENCE})")
"""A text with nothing before it that could belong to the prefix."""

COLOUR = re.compile(r"\x1b\[[\d;]{0,16}m")
JSON_LINE = re.compile(r"^[\s,\x1e\[]*(?:data: )?\{.*[\"\d]", re.DOTALL)
UNIX_MS = re.compile(r"\d{13}\Z", re.ASCII)
SHIPPERS_ISO = re.compile(
    r"(?P<iso>\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)(?:[.,](?P<part>\d{1,9})\d*)?(?P<zone>Z|[+-]\d\d:?\d\d)?\Z"
)


class AnyFormat:
    """A format for any log; lines must come in their order.

    Args:
        latest: As in Dates.

    Attributes:
        certain: Whether the last line is the kernel's by its prefix.
        unknown: Whether the last line is neither the kernel's by its prefix nor known to be another program's.
        whole: Whether the last line is a whole record: its newlines are escaped.
    """

    def __init__(self, latest: datetime) -> None:
        dated = Dated(latest)
        self._dates = dated.dates
        self._strict = (kmsg, dated.syslog, dated.human, dmesg, dated.iso)
        self._prefixes = Prefixes(dated.dates)
        self._records = Records()
        self._since_stamp = MAX_BARE_GAP
        self.certain = self.unknown = self.whole = False

    @property
    def pending(self) -> bool:
        """Whether further lines are needed to complete a record."""
        return self._records.open

    def skipped(self, size: int) -> None:
        """Note that lines were left out."""
        self._since_stamp += size

    def is_interrupted(self, line: str) -> bool:
        """Return whether a line ends the record before without being part of it: `drain` returns that record."""
        return self._records.open and not self._records.wants(line)

    def drain(self) -> LogLine | None:
        """Return the kernel's line in a record that is not complete."""
        return self._of_records(self._records.drain())

    def __call__(self, line: str) -> LogLine | None:
        """Return the kernel's line, or None."""
        self.certain = self.unknown = self.whole = False
        self._since_stamp += len(line) + 1
        line = line[:MAX_LENGTH]
        if "\x1b" in line:
            line = COLOUR.sub("", line)
        if self._records.wants(line):
            return self._of_records(self._records.take(line))
        self._records.abandon()
        if "{" in line[:16] and JSON_LINE.match(line):
            return self._of_json(line)
        for form in self._strict:
            if (found := form(line)) is not None:
                self._since_stamp = 0
                self.certain, self.whole = True, form is kmsg
                found = self._prefixes.rest(found) if RESTLESS.match(found.text) is None else found
                return self._shipped(found)
        found = self._split(line)
        return self._shipped(found) if found is not None and self.certain else found

    def _split(self, line: str, base: LogLine | None = None) -> LogLine | None:
        """Read a line with any prefix or none."""
        split = self._prefixes.split(line, base)
        self.unknown = split.line is not None and not split.certain
        if split.stamped:
            self._since_stamp = 0
            self.certain = split.certain
            return split.line
        if self._since_stamp >= MAX_BARE_GAP and split.line is not None:
            self.certain = bool(SENTENCES.match(split.line.text))
        return None if self._since_stamp < MAX_BARE_GAP and base is None else split.line

    def _of_records(self, messages: Iterator[Message]) -> LogLine | None:
        found = next(messages, None)
        for _ in messages:  # at most one is complete; the record's state is reset behind it
            pass
        return None if found is None else self._of(found)

    def _of_json(self, line: str) -> LogLine | None:
        found = message(parse_json(line))
        return None if found is None else self._of(found)

    def _of(self, found: Message) -> LogLine | None:
        self.whole = True
        if not found.is_kernels:
            return None
        base = self._dated(found)
        self.certain = True
        return self._split(base.text, replace(base, text="")) if found.nested else base

    def _shipped(self, line: LogLine) -> LogLine | None:
        """Read a record in JSON behind a time and a tag, as fluentd prints it."""
        if not line.text.startswith('{"'):
            return line
        found = message(parse_json(line.text))
        if found is None or not found.is_kernels:
            return None
        base = replace(line, text="", host=found.line.host or line.host)
        return self._split(found.line.text, base)

    def _dated(self, found: Message) -> LogLine:
        """Add the shipper's time, if the record has no other."""
        if UNIX_MS.match(found.time or "") and found.line.wall is None:
            return replace(found.line, wall=int(found.time or "") * 1_000_000)
        iso = SHIPPERS_ISO.match(found.time or "")
        if iso is None or found.line.wall is not None:
            return found.line
        wall = self._dates.iso(iso["iso"], iso["part"], iso["zone"])
        return replace(found.line, wall=wall, guessed=iso["zone"] is None)
