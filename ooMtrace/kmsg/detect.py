# SPDX-License-Identifier: Apache-2.0
"""Reads each line of a log in the format that it has: files are concatenated, and formats change within them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from ooMtrace.kmsg.formats import Dated, LogLine, dmesg, kmsg
from ooMtrace.kmsg.journal import Message, Records, message, parse_json
from ooMtrace.kmsg.paste import clean
from ooMtrace.kmsg.pieces import MARKUP, SENTENCE, STAMP_AHEAD
from ooMtrace.kmsg.prefix import SENTENCES, Prefixes

MAX_BARE_GAP = 8192
"""Characters after a line with a time in which a line without one can be the rest of that line."""

MAX_LENGTH = 1 << 16
"""Characters of a line that are read."""

MAX_TAG = 128
"""Characters before a record in JSON."""

RESTLESS = re.compile(
    rf"(?:kernel:|message repeated|<[0-9]|{STAMP_AHEAD}|c[0-9]{{1,3}} | {{0,8}}[-.]?\([0-9]+\)\[|\|"
    rf"| {{0,8}}[VDIWEF]?\[ *[0-9]{{1,4}}: | {{1,8}}{SENTENCE}|{MARKUP}|\[[0-9]{{1,2}}(?:;[0-9]{{1,2}})*m)"
)
"""A text that may begin with more of the prefix."""

RESTLESS_FIRST = frozenset("kmc<[( -.|VDIWEF")

MAY_BE_PASTED = re.compile('[\x1b&\u00a0\t|"^]|,kern')
"""What `clean` removes has one of these at its beginning."""

JSON_LINE = re.compile(r"^[\s,\x1e\[]*(?:data: )?\{.*[\"0-9]", re.DOTALL)
TAGGED_JSON = re.compile(
    r"^(?:\[[0-9]{1,9}\] [^\s\"]{1,128}: )?\[\[?(?:\"[^\"]{0,128}\",[ \t]*)?"
    r"\"?(?P<time>[^\",{}\[\]]{1,40})\"?(?:, ?\{\}\])?,[ \t]*(?=\{)"
    r"|^(?P<iso>[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.]{8,18} ?(?:Z|[+-][0-9]{2}:?[0-9]{2}))[ \t]+"
    r"(?P<tag>[\w.*-]{0,64}?(?:kern|kmsg|dmesg|syslog|messages|system|journal)[\w.*-]{0,64}):?[ \t]+(?=\{)"
    r"|^(?P<cri>[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{8,18}(?:Z|[+-][0-9]{2}:?[0-9]{2})) "
    r"(?:(?:stdout|stderr) [FP] )?(?=\{\s*\")"
)
"""A record in JSON behind a tag and a time, as fluentd, fluent-bit and container runtimes write it."""

UNIX = re.compile(r"(?P<seconds>[0-9]{10})(?:\.(?P<part>[0-9]{1,9}))?\Z|(?P<ms>[0-9]{13})\Z")
SHIPPERS_ISO = re.compile(
    r"(?P<iso>[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2})(?:[.,](?P<part>[0-9]{1,9})[0-9]*)?"
    r" ?(?P<zone>Z|[+-][0-9]{2}:?[0-9]{2})?\Z"
)
MAX_NESTED = 3
"""Records within records that are opened."""


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
        if self._records.wants(line):
            return self._of_records(self._records.take(line))
        self._records.abandon()
        if "{" in line[:MAX_TAG]:
            if JSON_LINE.match(line):
                return self._of_json(line)
            if found := TAGGED_JSON.match(line):
                time = found["time"] or found["iso"] or found["cri"]
                return self._of_json(line[found.end() :], time=time)
        return self._of_text(clean(line) if MAY_BE_PASTED.search(line, 0, MAX_TAG) else line)

    def _of_text(self, line: str) -> LogLine | None:
        for form in self._strict:
            if (found := form(line)) is not None:
                self._since_stamp = 0
                self.certain, self.whole = True, form is kmsg
                return self._shipped(self._rest(found))
        found = self._split(line)
        return self._shipped(found) if found is not None and self.certain else found

    def _rest(self, line: LogLine) -> LogLine:
        is_restless = line.text[:1] in RESTLESS_FIRST and RESTLESS.match(line.text)
        return self._prefixes.rest(line) if is_restless else line

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

    def _of_json(self, line: str, *, time: str | None = None, depth: int = 0) -> LogLine | None:
        found = message(parse_json(line))
        if found is not None and time is not None:
            found = replace(found, time=found.time or time)
        return None if found is None else self._of(found, depth)

    def _of(self, found: Message, depth: int = 0) -> LogLine | None:
        self.whole = True
        if not found.is_kernels:
            return None
        base = self._dated(found)
        if found.nested and depth < MAX_NESTED and JSON_LINE.match(base.text):
            return self._of_json(base.text, time=found.time, depth=depth + 1)
        self.certain = True
        if not found.nested:
            return base
        inner = clean(base.text)
        strict = kmsg(inner) or next((read for form in self._strict if (read := form(inner)) is not None), None)
        if strict is None:
            return self._split(inner, replace(base, text=""))
        return _completed(self._rest(strict), base)

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
        if found.line.wall is not None or found.time is None:
            return found.line
        if unix := UNIX.match(found.time):
            seconds = int(unix["seconds"] or unix["ms"][:10])
            part = int((unix["part"] or (unix["ms"] or "")[10:]).ljust(9, "0"))
            return replace(found.line, wall=seconds * 1_000_000_000 + part)
        iso = SHIPPERS_ISO.match(found.time)
        if iso is None:
            return found.line
        wall = self._dates.iso(iso["iso"], iso["part"], iso["zone"])
        return replace(found.line, wall=wall, guessed=iso["zone"] is None)


def _completed(line: LogLine, base: LogLine) -> LogLine:
    """Add what the record around a line states to the line; the line's own time counts, unless its zone is a guess."""
    if line.wall is None or (line.guessed and base.wall is not None and not base.guessed):
        line = replace(line, wall=base.wall, guessed=base.guessed)
    return replace(line, host=line.host or base.host, boot_id=line.boot_id or base.boot_id)
