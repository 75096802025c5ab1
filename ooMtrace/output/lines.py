# SPDX-License-Identifier: Apache-2.0
"""One record as text, in each format once, however many outputs take it."""

from __future__ import annotations

from collections.abc import Callable

from ooMtrace.output.encode import encode
from ooMtrace.record import Record

Format = Callable[[Record], bytes]
"""Returns the line of a record, newline included. Pure."""


class Lines:
    """The lines of one record.

    Args:
        record: Numbered.
    """

    def __init__(self, record: Record) -> None:
        self.record = record
        self._lines: dict[Format, bytes] = {}

    def line(self, format_: Format = encode) -> bytes:
        """Return the line in this format, newline included."""
        if format_ not in self._lines:
            self._lines[format_] = format_(self.record)
        return self._lines[format_]


Render = Callable[[Lines], bytes]
"""Returns what an output sends for a record. Pure."""


def rendered_as(format_: Format) -> Render:
    """Return what renders lines in a format and nothing around them."""
    return lambda lines: lines.line(format_)
