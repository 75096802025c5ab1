# SPDX-License-Identifier: Apache-2.0
"""Sleeping until something happens: a record, a signal or the end of whoever reads our output."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import FrameType, TracebackType

STOP = (signal.SIGINT, signal.SIGTERM)


class Poller:
    """Sleeps without any wake-up while nothing happens. Use it as a context manager in the main thread.

    Args:
        fds: Says which file descriptors become readable when something happens.
        output: Where lines go, if that may be a pipe.

    Attributes:
        stopped: SIGINT or SIGTERM has come.
        unread: The reader of our output has gone.
    """

    def __init__(self, fds: Callable[[], Iterable[int]], output: int | None = None) -> None:
        self.stopped = False
        self.reader_gone = False
        self._fds = fds
        self._watched: set[int] = set()
        self._output = output
        self._hangup = False
        self._poll = select.poll()
        if output is not None:
            self._poll.register(output, 0)  # a pipe without a reader reports POLLERR unasked

    def __enter__(self) -> Poller:
        """Take over the signals."""
        self._wakeup, self._written = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._poll.register(self._wakeup, select.POLLIN)
        self._fd_before = signal.set_wakeup_fd(self._written, warn_on_full_buffer=False)
        self._before = {number: signal.signal(number, self._stop) for number in STOP}
        self._before[signal.SIGHUP] = signal.signal(signal.SIGHUP, self._hang_up)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the signals back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._fd_before)
        os.close(self._wakeup)
        os.close(self._written)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self.stopped = True

    def _hang_up(self, _number: int, _frame: FrameType | None) -> None:
        self._hangup = True

    def wait(self, timeout_ms: int | None, blocked: int | None = None) -> None:
        """Sleep until a file descriptor is readable, a signal comes or the time is over (None: never).

        This time also until `blocked` is writable.
        """
        if self.stopped:
            return
        self._watch()
        if blocked is not None:
            self._poll.register(blocked, select.POLLOUT)
        for fd, events in self._poll.poll(timeout_ms):
            if fd == self._wakeup:
                os.read(fd, 4096)
            elif fd == self._output and events & (select.POLLERR | select.POLLHUP):
                self.reader_gone = True
            elif fd in self._watched and events & ~select.POLLIN:  # of a CPU that has gone: it would wake us for ever
                self._poll.unregister(fd)
        if blocked == self._output and blocked is not None:
            self._poll.modify(blocked, 0)
        elif blocked is not None:
            self._poll.unregister(blocked)

    def _watch(self) -> None:
        """Watch what there is now: CPUs come and go."""
        there = set(self._fds())
        for fd in self._watched - there:
            with suppress(KeyError):
                self._poll.unregister(fd)
        for fd in there - self._watched:
            self._poll.register(fd, select.POLLIN)
        self._watched = there

    def take_hangup(self) -> bool:
        """Say whether SIGHUP has come since the last call."""
        hangup, self._hangup = self._hangup, False
        return hangup
