# SPDX-License-Identifier: Apache-2.0
"""The corpus of command lines in tests/fixtures/cmdlines: one on each line, its secrets between brackets."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ooMtrace.record import OomKill, Process
from support.probe_events import kill

CMDLINES = Path(__file__).parent.parent / "fixtures/cmdlines"
MARKED = re.compile("⟦(.*?)⟧")
TITLE = "title: "
LEAK = 6
"""So many characters of a secret in a row are a leak."""


@dataclass(frozen=True)
class Line:
    """A command line of the corpus.

    Attributes:
        text: As the file has it, but without the brackets.
        words: The arguments; of a title, its words.
        is_title: Whether the process has a title instead of arguments.
        secrets: What must not be in the output.
        rest: All the rest.
    """

    text: str
    words: tuple[str, ...]
    is_title: bool
    secrets: tuple[str, ...]
    rest: str

    def victim(self) -> OomKill:
        facts = {"title": " ".join(self.words)} if self.is_title else {"command_args": self.words}
        return kill(process=Process(pid=100, **facts))

    def as_title(self) -> OomKill:
        """Return a victim that has the same words as its title, without the quotes."""
        return kill(process=Process(pid=100, title=" ".join(self.words)))


def read(name: str) -> Iterator[Line]:
    """Yield the lines of a file of the corpus."""
    for line in (CMDLINES / f"{name}.txt").read_text().splitlines():
        if line:
            yield _parse(line)


def _parse(line: str) -> Line:
    is_title = line.startswith(TITLE)
    marked = line.removeprefix(TITLE)
    words = marked.split() if is_title else shlex.split(marked)
    return Line(
        text=MARKED.sub(r"\1", marked),
        words=tuple(MARKED.sub(r"\1", word) for word in _joined(words)),
        is_title=is_title,
        secrets=tuple(MARKED.findall(" ".join(words))),
        rest=MARKED.sub("", " ".join(words)),
    )


def _joined(words: list[str]) -> list[str]:
    """Put back together the words of a secret with blanks, which a title's split has separated."""
    joined: list[str] = []
    for word in words:
        if joined and joined[-1].count("⟦") > joined[-1].count("⟧"):
            joined[-1] += " " + word
        else:
            joined.append(word)
    return joined


def output(victim: OomKill) -> tuple[str, ...]:
    """Return the title or the arguments of a victim."""
    process = victim.process
    return process.command_args or () if process.title is None else (process.title,)


def leaked(line: Line, shown: tuple[str, ...]) -> list[str]:
    """Return what is left of the line's secrets, apart from what the line says elsewhere, too."""
    text = "\n".join(shown)
    return [
        part
        for secret in line.secrets
        for start in range(max(1, len(secret) - LEAK + 1))
        if (part := secret[start : start + LEAK]) in text and part not in line.rest
    ]


def kept(line: Line, shown: tuple[str, ...]) -> int:
    """Return how many words of the line are still there, unchanged."""
    return (Counter(" ".join(line.words).split()) & Counter(" ".join(shown).split())).total()
