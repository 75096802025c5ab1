# SPDX-License-Identifier: Apache-2.0
"""What an Outbox needs of a sink. Sinks write bytes and know nothing of records."""

from __future__ import annotations

from typing import Protocol

from ooMtrace.errors import SinkError


class ClosedPipeError(SinkError):
    """The reader has closed the output: the normal end of the work, not a failure."""


class LaterError(SinkError):
    """It cannot be opened or written now, but may be later."""


class RefusedError(SinkError):
    """The receiver refuses messages and would refuse them again.

    Args:
        fact: What it says.
        count: How many it refuses.
        of: How many it has answered for; the others are delivered.
    """

    def __init__(self, fact: str, count: int, of: int) -> None:
        super().__init__(fact)
        self.count = count
        self.of = of


class Sink(Protocol):
    """Takes lines a part at a time, without blocking."""

    name: str
    """The name for messages."""

    fd: int
    """The file descriptor to poll for writability."""

    def never_wait(self) -> None:
        """Make `write_some` non-blocking."""

    def write_some(self, line: bytes) -> int:
        """Write as much as is possible without waiting; return the number of bytes, 0 if that is none.

        Raises:
            LaterError: Retry later.
            ClosedPipeError: The reader has closed the output.
            SinkError: It cannot be written, now or later.
        """

    def writable(self, timeout_ms: int | None) -> bool:
        """Wait until it can be written or the reader has closed it (None: without limit); return whether it is so."""

    def removed(self) -> bool:
        """Return whether the output was removed, so that nobody will read what is written."""

    def emptied(self) -> bool:
        """Return whether what was written before has been truncated away."""

    def reopen(self) -> bool:
        """Open the output again; return whether it is another one than before. Raises LaterError."""

    def close(self) -> None:
        """Release the output."""
