# SPDX-License-Identifier: Apache-2.0
"""Perf records become events; those that cannot be decoded are counted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from ooMtrace.errors import DecodeError

Event = TypeVar("Event")


class Decoding:
    """Decodes the records of one perf buffer.

    Args:
        warn: Takes one line about a record that cannot be decoded.

    Attributes:
        failed: How many could not be decoded.
    """

    def __init__(self, warn: Callable[[str], None]) -> None:
        self._warn = warn
        self.failed = 0

    def events(self, records: Iterable[bytes], decode: Callable[[bytes], Event]) -> Iterator[Event]:
        """Yield the event of each record that can be decoded."""
        for record in records:
            try:
                yield decode(record)
            except DecodeError as error:
                self.failed += 1
                self._warn(str(error))
