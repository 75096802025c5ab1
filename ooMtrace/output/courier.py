# SPDX-License-Identifier: Apache-2.0
"""A queue whose messages a thread of its own delivers: the receiver may be slow, gone or back again."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from threading import Condition, Thread
from typing import Protocol

from ooMtrace.output.outbox import LIMIT
from ooMtrace.output.sink import LaterError, RefusedError
from ooMtrace.output.wake import Wake

BATCH = 64
"""Messages that a transport gets at once, at most."""

FIRST_DELAY_S, LONGEST_DELAY_S, HURRIED_DELAY_S = 0.1, 30.0, 0.2
"""Between two attempts: doubled each time up to the longest; at the end of the run, always the last."""

CLOSE_S = 1


class Transport(Protocol):
    """Delivers messages; may block. Only the thread of its courier calls it, except for `abort`."""

    name: str
    """The name for messages, without secrets."""

    def connect(self) -> None:
        """Connect if it is not connected. Raises LaterError."""

    def send(self, messages: Sequence[bytes]) -> int:
        """Deliver messages in order; return how many, at least 1.

        Raises:
            LaterError: None was delivered; retry later.
            RefusedError: The first of them will never be taken.
        """

    def abort(self) -> None:
        """End a call that blocks, from another thread."""

    def close(self) -> None:
        """Release everything."""


class Courier:
    """A bounded queue and the thread that empties it. Without messages the thread sleeps and never wakes up.

    What the thread has to say is said by `flush`, in the main thread.

    Args:
        transport: Where messages go.
        say: Takes one line for the operator.
        wake: Set when the queue is empty, and when there is something to say.
        limit_bytes: Maximum size of the queue.
    """

    def __init__(self, transport: Transport, say: Callable[[str], None], wake: Wake, limit_bytes: int = LIMIT) -> None:
        self.name = transport.name
        self._transport = transport
        self._say = say
        self._wake = wake
        self._free_bytes = limit_bytes
        self._messages: deque[bytes] = deque()
        self._to_say: deque[str] = deque()
        self._changed = Condition()
        self._error = ""  # reported, and not yet over
        self._delay = FIRST_DELAY_S
        self._refused = 0
        self._is_hurried = self._is_closing = self._retries_now = False
        self._thread: Thread | None = None

    @property
    def held(self) -> int:
        """The number of messages that are not delivered."""
        return len(self._messages)

    def start(self) -> None:
        """Start the thread, which connects at once: what is wrong is known before the first kill."""
        thread = Thread(target=self._run, name=self.name[:15], daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the limit on threads is reached; tried again by the next message
            self._report("no thread can be started")
        else:
            self._thread = thread

    def put(self, message: bytes) -> bool:
        """Queue a message; return False if there is no room for it."""
        if self._thread is None:
            self.start()
        with self._changed:
            if len(message) > self._free_bytes:
                return False
            self._free_bytes -= len(message)
            self._messages.append(message)
            self._changed.notify_all()
        return True

    def take_refused(self) -> int:
        """Return how many messages the other side has refused for good since the last call."""
        with self._changed:
            refused, self._refused = self._refused, 0
        return refused

    def flush(self) -> None:
        """Say what there is to say; delivering is the thread's work."""
        while self._to_say:
            self._say(self._to_say.popleft())

    def hurry(self) -> None:
        """Retry at once, and often."""
        with self._changed:
            self._is_hurried = self._retries_now = True
            self._changed.notify_all()

    def blocked_fd(self) -> int | None:
        """Return None: nothing is to be polled."""
        return None

    def retry_ms(self) -> int | None:
        """Return None: the thread retries."""
        return None

    def reopen(self) -> bool:
        """Retry at once."""
        with self._changed:
            self._delay, self._retries_now = FIRST_DELAY_S, True
            self._changed.notify_all()
        return False

    def close(self) -> None:
        """End the thread, whatever it waits for."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        self._transport.abort()
        if self._thread is not None:
            self._thread.join(CLOSE_S)

    def _run(self) -> None:
        self._attempt(self._connect)
        while messages := self._await_messages():
            self._attempt(lambda batch=messages: self._deliver(batch))  # type: ignore[misc]
        self._transport.close()

    def _await_messages(self) -> list[bytes]:
        """Wait for messages and return the first of them; [] at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._messages or self._is_closing)
            return [] if self._is_closing else list(islice(self._messages, BATCH))

    def _connect(self) -> None:
        self._transport.connect()
        self._note_success()

    def _deliver(self, batch: Sequence[bytes]) -> None:
        try:
            count, refused = self._transport.send(batch), 0
            self._note_success()
        except RefusedError as error:
            count, refused = error.of, error.count
            self._report(f"{error.fact}; what is refused is left out")
        with self._changed:
            self._refused += refused
            for _ in range(count):
                self._free_bytes += len(self._messages.popleft())
            is_empty = not self._messages
        if is_empty:
            self._wake.set()

    def _attempt(self, action: Callable[[], None]) -> None:
        with self._changed:  # a retry that is asked for from now on is one after this attempt
            self._retries_now = False
        try:
            action()
        except LaterError as error:
            self._report(f"{error.fact}; lines are kept in memory until it takes them")
            self._wait_before_retry()
        else:
            self._delay = FIRST_DELAY_S

    def _note_success(self) -> None:
        """Say that it works again: before the queue is empty, for the end of the run waits for no more than that."""
        if self._error:
            self._error = ""
            self._tell(f"{self.name}: works again")

    def _report(self, text: str) -> None:
        if text != self._error:
            self._error = text
            self._tell(text)

    def _tell(self, text: str) -> None:
        self._to_say.append(text)
        self._wake.set()

    def _wait_before_retry(self) -> None:
        """Wait longer each time; a random part of it keeps a fleet from reconnecting all at once."""
        delay = HURRIED_DELAY_S if self._is_hurried else self._delay * (0.5 + os.urandom(1)[0] / 512)
        self._delay = min(2 * self._delay, LONGEST_DELAY_S)
        deadline = time.monotonic() + delay
        with self._changed:
            self._changed.wait_for(lambda: self._retries_now or self._is_closing, deadline - time.monotonic())
