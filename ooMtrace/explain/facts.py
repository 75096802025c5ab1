# SPDX-License-Identifier: Apache-2.0
"""The facts of a parsed line, each with the type that its field has; text is safe for a terminal. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from ooMtrace.output.terminal import escape_control
from ooMtrace.record import INT64

LONGEST = 200
"""Characters of a text, unless stated otherwise."""

MOST = 100
"""Members of a list that are read: a line of oomtrace has fewer, another program's may have any number."""

TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?Z", re.ASCII)

LONG_ID = re.compile(r"([0-9a-f]{12})[0-9a-f]{52}", re.ASCII)

INVISIBLE = ("Cf", "Cn", "Co", "Zl", "Zp")
"""Categories of characters that change how others are shown (direction, joining), or that no font has."""


class Facts:
    """Facts of a line or of a part of it. What is absent, or has another type than it should have, is None.

    Args:
        values: The parsed JSON object.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def number(self, path: str) -> int | None:
        """Return an integer of at most 64 bits.

        Args:
            path: Keys from the top of the line, joined by dots, as in `missing`.
        """
        value = self._find(path)
        return value if type(value) is int and value in INT64 else None

    def amount(self, path: str) -> int | None:
        """Return an integer that is not negative: bytes, pages or a count."""
        value = self.number(path)
        return value if value is not None and value >= 0 else None

    def text(self, path: str, longest: int = LONGEST) -> str | None:
        """Return a text in one line, without anything that a terminal acts on; None if it is empty."""
        value = self._find(path)
        return clean(value, longest) if isinstance(value, str) and value else None

    def path(self, path: str) -> str | None:
        """Return the path of a cgroup, with ids of containers cut to their first digits."""
        value = self._find(path)
        return clean(LONG_ID.sub(r"\1..", value)) if isinstance(value, str) and value else None

    def word(self, path: str) -> str | None:
        """Return a text as it is, to compare it; it is never to be shown."""
        value = self._find(path)
        return value if isinstance(value, str) else None

    def is_true(self, path: str) -> bool:
        """Return whether a fact is true; False: it is false or not known."""
        return self._find(path) is True

    def time(self, path: str) -> datetime | None:
        """Return a time in UTC."""
        value = self._find(path)
        if not isinstance(value, str) or not TIME.fullmatch(value):
            return None
        whole, _, fraction = value[:-1].partition(".")
        try:
            return datetime.fromisoformat(f"{whole}.{fraction:0<6.6}").replace(tzinfo=timezone.utc)
        except ValueError:  # a month 13
            return None

    def texts(self, path: str) -> tuple[str, ...]:
        """Return the texts in a list; () if it is absent."""
        return tuple(clean(" ".join(value.split())) for value in self._list(path) if isinstance(value, str))

    def raw_texts(self, path: str) -> tuple[str, ...]:
        """Return the texts in a list as they are, to look for something in them; they are never to be shown."""
        return tuple(value for value in self._list(path) if isinstance(value, str))

    def parts(self, path: str) -> tuple[Facts, ...]:
        """Return the objects in a list; () if it is absent."""
        return tuple(Facts(value) for value in self._list(path) if isinstance(value, Mapping))

    def has(self, path: str) -> bool:
        """Return whether the line has this fact, of any type."""
        return self._find(path) is not None

    def _list(self, path: str) -> list[Any]:
        value = self._find(path)
        return value[:MOST] if isinstance(value, list) else []

    def _find(self, path: str) -> Any:  # noqa: ANN401 (anything that JSON can represent)
        value: Any = self._values
        for name in path.split("."):
            if type(value) is not dict and not isinstance(value, Mapping):  # the latter is slow
                return None
            value = value.get(name)
        return value


def clean(text: str, longest: int = LONGEST) -> str:
    """Return a text as one line of visible characters; the middle of a longer one is left out."""
    if len(text) > 2 * longest:  # what is left out need not be examined
        text = text[:longest] + text[-longest:]
    shown = escape_control(text, longest)
    if shown.isascii():
        return shown
    return escape_control("".join(_visible(char) for char in shown), longest)


def _visible(char: str) -> str:
    if unicodedata.category(char) not in INVISIBLE:
        return char
    return char.encode("ascii", "backslashreplace").decode()
