# SPDX-License-Identifier: Apache-2.0
"""Text in lines of 80 columns: wrapped, cut, and coloured for a terminal. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

COLUMNS, LINES = 80, 25
MARGIN, LABEL = 2, 12
"""Columns in front of a label, and in front of what it labels."""

CUT = "..."
Kind = Literal["headline", "fact", "text", "command", "heading", "advice"]
STYLES: dict[Kind, str] = {"headline": "1;31", "heading": "1", "command": "36", "advice": "0", "text": "0", "fact": "0"}
LABEL_STYLE = "2"


@dataclass(frozen=True, slots=True)
class Block:
    """Lines that are shown together or not at all.

    Attributes:
        rank: What is shown if not all fit: the lower the rank, the sooner.
    """

    kind: Kind
    lines: tuple[str, ...]
    rank: int


def fact(label: str, sentences: Iterable[str], rank: int, most: int = 2) -> Block:
    """Return a labelled fact; each sentence begins a line and may take `most` of them."""
    lines = [line for text in sentences for line in wrap(text, COLUMNS - LABEL, most)]
    first = f"{'':{MARGIN}}{label:<{LABEL - MARGIN}}"
    return Block("fact", tuple((first if not at else " " * LABEL) + line for at, line in enumerate(lines)), rank)


def text(sentence: str, rank: int, most: int = 2) -> Block:
    """Return a sentence over the whole width."""
    return Block("text", tuple(wrap(sentence, COLUMNS, most)), rank)


def numbered(number: int, sentence: str, rank: int, most: int = 4) -> Block:
    """Return a numbered suggestion."""
    lines = wrap(sentence, COLUMNS - 4, most)
    return Block("advice", tuple((f"  {number} " if not at else "    ") + line for at, line in enumerate(lines)), rank)


def two_sided(left: str, right: str) -> str:
    """Return one line with a text at either end; the left one is cut if both do not fit."""
    left = cut(left, COLUMNS - width(right) - 2)
    return f"{left}{' ' * (COLUMNS - width(left) - width(right))}{right}"


def fit(blocks: Sequence[Block], lines: int = LINES) -> list[Block]:
    """Return as many blocks as fit, in their order; those of the lowest rank first. Headings need what they head."""
    kept: set[int] = set()
    free = lines
    for at in sorted(range(len(blocks)), key=lambda at: (blocks[at].rank, at)):
        if len(blocks[at].lines) <= free:
            kept.add(at)
            free -= len(blocks[at].lines)
    shown = [block for at, block in enumerate(blocks) if at in kept]
    followed = [*(block.kind for block in shown[1:]), ""]
    return [block for block, after in zip(shown, followed, strict=True) if block.kind != "heading" or after == "advice"]


def render(blocks: Iterable[Block], *, color: bool) -> str:
    """Return the lines of these blocks, each ended by a newline."""
    return "".join(f"{_painted(line, block.kind) if color else line}\n" for block in blocks for line in block.lines)


def _painted(line: str, kind: Kind) -> str:
    if kind == "fact" and line[:LABEL].strip():
        return f"\x1b[{LABEL_STYLE}m{line[:LABEL]}\x1b[0m{line[LABEL:]}"
    is_plain = STYLES[kind] == "0" or (kind == "command" and not line.startswith(" "))
    return line if is_plain else f"\x1b[{STYLES[kind]}m{line}\x1b[0m"


def width(shown: str) -> int:
    """Return how many columns of a terminal a text takes."""
    return len(shown) if shown.isascii() else sum(map(_columns, shown))


def _columns(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def cut(shown: str, columns: int) -> str:
    """Return a text that takes no more columns: the end of a longer one is left out."""
    if width(shown) <= columns:
        return shown
    return _head(shown, max(0, columns - len(CUT))).rstrip() + CUT[: max(0, columns)]


def _head(shown: str, columns: int) -> str:
    taken = 0
    for at, char in enumerate(shown):
        taken += _columns(char)
        if taken > columns:
            return shown[:at]
    return shown


def wrap(sentence: str, columns: int, most: int) -> list[str]:
    """Return a text in lines of at most `columns`, broken at spaces where that is possible; at most `most` lines."""
    lines: list[str] = []
    line = ""
    for word in sentence.split(" "):
        joined = f"{line} {word}" if line else word
        while width(joined) > columns:
            if line:
                lines.append(line)
                joined, line = word, ""
            else:
                head = _head(joined, columns) or joined[:1]
                lines.append(head)
                joined = joined[len(head) :]
        line = joined
        if len(lines) > most:
            break
    if line:
        lines.append(line)
    if len(lines) > most:
        rest = f"{lines[most - 1]} {CUT}"
        lines[most - 1 :] = [rest if width(rest) <= columns else cut(lines[most - 1] + " " * columns, columns)]
    return lines
