# SPDX-License-Identifier: Apache-2.0
"""One record as text, in each format once, however many outputs take it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ooMtrace.record import Record

Format = Callable[["Record"], bytes]
"""Returns the line of a record, newline included. Pure."""


def native(record: Record) -> bytes:
    """Return the line as `encode` does, which is imported with the first line: after the probes are attached."""
    from ooMtrace.output.encode import encode

    return encode(record)


def native_pretty(record: Record) -> bytes:
    """Return the line indented, in the same way."""
    from ooMtrace.output.encode import encode_pretty

    return encode_pretty(record)


class Lines:
    """The lines of one record.

    Args:
        record: Numbered.
    """

    def __init__(self, record: Record) -> None:
        self.record = record
        self._lines: dict[Format, bytes] = {}

    def line(self, format_: Format = native) -> bytes:
        """Return the line in this format, newline included."""
        if format_ not in self._lines:
            self._lines[format_] = format_(self.record)
        return self._lines[format_]


Render = Callable[[Lines], bytes]
"""Returns what an output sends for a record. Pure."""


def rendered_as(format_: Format) -> Render:
    """Return what renders lines in a format and nothing around them."""
    return lambda lines: lines.line(format_)
