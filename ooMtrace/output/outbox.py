# SPDX-License-Identifier: Apache-2.0
"""A queue of lines for a file or pipe that cannot take them now, so that tracing continues."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from ooMtrace.output.sink import LaterError, Sink

LIMIT = 4 << 20
RETRY_MS = 1000
"""poll(2) reports when a pipe can be written; a full disk and a removed directory take retries."""


class Outbox:
    """A bounded queue of whole lines in front of a sink. Nothing blocks.

    Args:
        sink: Where the lines go.
        say: Takes one line for the operator.
        limit_bytes: Maximum size of the queue.
    """

    def __init__(self, sink: Sink, say: Callable[[str], None], limit_bytes: int = LIMIT) -> None:
        sink.never_wait()
        self.name = sink.name
        self._sink = sink
        self._say = say
        self._free_bytes = limit_bytes
        self._lines: deque[bytes] = deque()
        self._written = 0  # bytes of the first line that the sink has
        self._error = ""  # reported, and not yet over
        self._is_blocked = False

    @property
    def held(self) -> int:
        """The number of lines that are queued."""
        return len(self._lines)

    def put(self, line: bytes) -> bool:
        """Queue a line; return False if there is no room for it."""
        if len(line) > self._free_bytes:
            return False
        self._free_bytes -= len(line)
        self._lines.append(line)
        return True

    def take_refused(self) -> int:
        """Return 0: a file or pipe takes any line."""
        return 0

    def flush(self) -> None:
        """Write what can be written now; raises SinkError if no more can ever be written."""
        if not self._lines:
            return
        try:
            self._follow_file()
            self._is_blocked = not self._write()
        except LaterError as error:
            self._is_blocked = False
            self._report_error(error.fact)
        if self._error and not self._lines:
            self._error = ""
            self._say(f"{self._sink.name}: works again")

    def _report_error(self, fact: str) -> None:
        if fact != self._error:
            self._error = fact
            self._say(f"{fact}; lines are kept in memory until it can be written")

    def _follow_file(self) -> None:
        """Reopen a file that was removed; begin the first line again if the file was truncated."""
        if self._sink.removed() and self.reopen():
            self._say(f"{self._sink.name}: was removed; recreated")
        elif self._written and self._sink.emptied():
            self._written = 0

    def _write(self) -> bool:
        """Write until the queue is empty (True) or the sink takes nothing more."""
        while self._lines:
            line = self._lines[0]
            count = self._sink.write_some(line[self._written :])
            self._written += count
            if not count:
                return False
            if self._written == len(line):
                self._written = 0
                self._free_bytes += len(self._lines.popleft())
        return True

    def reopen(self) -> bool:
        """Reopen the file and return whether it is another one: that gets its first line whole.

        Raises LaterError; then the file that was open is kept.
        """
        is_other = self._sink.reopen()
        if is_other:
            self._written = 0
        return is_other

    def blocked_fd(self) -> int | None:
        """Return the file descriptor to poll for writability, if lines are queued for that."""
        return self._sink.fd if self._is_blocked and self._lines else None

    def retry_ms(self) -> int | None:
        """Return after how many milliseconds to flush again, if lines are queued because of an error."""
        return RETRY_MS if self._error else None

    def start(self) -> None:
        """There is no thread to start."""

    def hurry(self) -> None:
        """It is flushed as often as it can be."""

    def close(self) -> None:
        """Discard what is queued, and close the sink."""
        self._sink.close()
