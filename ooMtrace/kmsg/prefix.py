# SPDX-License-Identifier: Apache-2.0
"""What stands before the kernel's text where no usual tool wrote the line: relays, shippers, pastes, consoles. Pure.

A prefix is read piece by piece from the left: decoration, priority, clocks, host and tag, the kernel's stamp. Only
known pieces are removed. So a kill's sentence counts only where the kernel's text begins: what a program or a user has
written stands after something that is not a piece.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from ooMtrace.kmsg import pieces
from ooMtrace.kmsg.dates import Dates
from ooMtrace.kmsg.formats import LogLine
from ooMtrace.kmsg.piece_readers import KINDS, PIECES, Facts

MAX_PIECES = 16

SENTENCES = re.compile(pieces.SENTENCE)
OTHER_TAG = re.compile(
    r"(?:\S{1,255}[ \t]+)?(?:[a-z]+[0-9]?\.[a-z]+ +)?[^\s:\[]{1,255}(?:\[[0-9]+\])?:[ \t]"
    r"|\S{1,255} \S{1,255} (?:-|[0-9]+) \S+ "
)
REPEATED_END = re.compile(r"\]\s*\Z")
TAIL = re.compile(r"(?:[\s\"'`|*,;]|</?[a-z]{1,10} ?/?>|\\[nr]|\[0?m)+\Z")
"""What closes a decoration."""


@dataclass(frozen=True, slots=True)
class Split:
    """A line without its prefix.

    Attributes:
        line: None if a program wrote it.
        stamped: Whether it has a time, or a tag of the kernel.
        certain: Whether it has what only the kernel's lines have.
    """

    line: LogLine | None
    stamped: bool
    certain: bool = False


class Prefixes:
    """Splits lines.

    Args:
        dates: Converts dates.
    """

    def __init__(self, dates: Dates) -> None:
        self._dates = dates

    def split(self, text: str, base: LogLine | None = None) -> Split:
        """Remove the prefix; `base` has what is known of the line already."""
        facts = Facts(base or LogLine(""))
        at = self._pieces(text, 0, facts)
        facts.certain |= facts.bracketed
        if facts.dated and not facts.certain:
            facts.program |= bool(OTHER_TAG.match(text, at)) and not SENTENCES.match(text, at)
        if facts.program:
            return Split(None, stamped=True)
        rest = _without_end(text, at, facts).rstrip(" ")  # some pad their lines
        return Split(replace(facts.line, text=rest), stamped=facts.dated or facts.certain, certain=facts.certain)

    def rest(self, line: LogLine) -> LogLine:
        """Remove what still stands before the text of a line whose usual prefix was removed."""
        facts = Facts(replace(line, text=""), dated=True, certain=True)
        at = self._pieces(line.text, 0, facts)
        if not at or facts.program:
            return line
        return replace(facts.line, text=_without_end(line.text, at, facts))

    def _pieces(self, text: str, at: int, facts: Facts) -> int:
        for _ in range(MAX_PIECES):
            end = at if facts.program else self._piece(text, at, facts)
            if end == at:
                break
            at = end
        return at

    def _piece(self, text: str, at: int, facts: Facts) -> int:
        """Read one piece; return where it ends, or `at` if there is none."""
        for pattern, use in PIECES[KINDS.get(text[at : at + 1], "")]:
            if (found := pattern.match(text, at)) and found.end() > at and use(facts, found, self._dates):
                return found.end()
        return at


def _without_end(text: str, at: int, facts: Facts) -> str:
    rest = TAIL.sub("", text[at:]) if facts.closed else text[at:]
    return REPEATED_END.sub("", rest) if "message repeated " in text[:at] else rest
