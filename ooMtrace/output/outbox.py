# SPDX-License-Identifier: Apache-2.0
"""Lines wait here for an output that cannot take them now, so that tracing need not."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from ooMtrace.output.stream import LaterError, StreamSink

LIMIT = 4 << 20
RETRY_MS = 1000
"""A pipe says when it can be written; a full disk and a folder that is gone are asked again."""


class Outbox:
    """A queue of whole lines before a sink; nothing in it waits but `drain`.

    Args:
        sink: Where they go.
        say: Takes one line for the operator.
        limit_bytes: How much may wait.
    """

    def __init__(self, sink: StreamSink, say: Callable[[str], None], limit_bytes: int = LIMIT) -> None:
        sink.never_wait()
        self._sink = sink
        self._say = say
        self._room = limit_bytes
        self._lines: deque[bytes] = deque()
        self._begun = 0  # bytes of the first line that are out
        self._trouble = ""  # as it was told
        self._blocked = False

    @property
    def held(self) -> int:
        """How many lines wait."""
        return len(self._lines)

    @property
    def empty(self) -> bool:
        """Whether all lines are out."""
        return not self._lines

    def put(self, line: bytes) -> bool:
        """Take a line; False: there is no room for it."""
        if len(line) > self._room:
            return False
        self._room -= len(line)
        self._lines.append(line)
        return True

    def flush(self) -> None:
        """Write what can be written now; raises SinkError where that will never be more."""
        if not self._lines:
            return
        try:
            self._renew()
            self._blocked = not self._write()
        except LaterError as error:
            self._blocked = False
            if error.fact != self._trouble:
                self._trouble = error.fact
                self._say(f"{error.fact}; lines are kept in memory until that works")
        if self._trouble and not self._lines:
            self._trouble = ""
            self._say(f"{self._sink.name}: works again")

    def _renew(self) -> None:
        """Open a file that was removed anew; of a line that is only begun nothing may be left."""
        if self._sink.removed() and self.reopen():
            self._say(f"{self._sink.name}: was removed, and is made anew")
        elif self._begun and self._sink.emptied():
            self._begun = 0

    def _write(self) -> bool:
        """Write until nothing is left (True) or nothing more is taken."""
        while self._lines:
            line = self._lines[0]
            written = self._sink.write_some(line[self._begun :])
            self._begun += written
            if not written:
                return False
            if self._begun == len(line):
                self._begun = 0
                self._room += len(self._lines.popleft())
        return True

    def reopen(self) -> bool:
        """Open the file anew and say whether it is another one: that one gets its first line whole.

        Raises LaterError; then the old one is kept.
        """
        other = self._sink.reopen()
        if other:
            self._begun = 0
        return other

    def blocked_fd(self) -> int | None:
        """Return what to wait for until it is writable, if lines wait for that."""
        return self._sink.fd if self._blocked and self._lines else None

    def retry_ms(self) -> int | None:
        """Return when to try again, if lines wait for that."""
        return RETRY_MS if self._trouble else None

    def drain(self, seconds: float) -> None:
        """Write what is left, and wait for that at most so long."""
        deadline = time.monotonic() + seconds
        self.flush()
        while self._lines and (left := deadline - time.monotonic()) > 0:
            if self._blocked:
                self._sink.writable(int(left * 1000) + 1)
            else:
                time.sleep(min(left, RETRY_MS / 1000))
            self.flush()

    def close(self) -> None:
        """Give up what is left, and the file."""
        self._sink.close()
