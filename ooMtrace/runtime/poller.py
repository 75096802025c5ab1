# SPDX-License-Identifier: Apache-2.0
"""Sleep until something happens: a record, a signal, or the reader of the output is gone."""

from __future__ import annotations

import errno
import os
import select
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import FrameType, TracebackType

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)

UNPOLLED_S = 0.1
"""How long `wait` sleeps where the kernel refuses to poll."""


class Poller:
    """Sleeps without any wake-up while nothing happens. Use it as a context manager in the main thread.

    Args:
        fds: Returns the file descriptors that become readable when something happens.
        output: The descriptor that lines are written to, if that may be a pipe; None: it is not watched.

    Attributes:
        stopped: SIGINT or SIGTERM was received.
        reader_gone: Nobody reads the output any more.
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
        """Handle SIGINT, SIGTERM and SIGHUP from here on."""
        self._wakeup_read, self._wakeup_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._poll.register(self._wakeup_read, select.POLLIN)
        self._previous_wakeup = signal.set_wakeup_fd(self._wakeup_write, warn_on_full_buffer=False)
        self._previous = {number: signal.signal(number, self._on_stop) for number in STOP_SIGNALS}
        self._previous[signal.SIGHUP] = signal.signal(signal.SIGHUP, self._on_hangup)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Restore the previous handlers."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._previous_wakeup)
        os.close(self._wakeup_read)
        os.close(self._wakeup_write)

    def _on_stop(self, _number: int, _frame: FrameType | None) -> None:
        self.stopped = True

    def _on_hangup(self, _number: int, _frame: FrameType | None) -> None:
        self._hangup = True

    def wait(self, timeout_ms: int | None, blocked: Iterable[int] = ()) -> None:
        """Sleep until a descriptor is readable, a signal is received or the time is over.

        Args:
            timeout_ms: At most so long; None: no limit.
            blocked: Descriptors that end this one wait when they are writable.
        """
        if self.stopped:
            return
        self._watch()
        blocked = tuple(blocked)
        for fd in blocked:
            self._poll.register(fd, select.POLLOUT)
        gone: tuple[int, ...] = ()
        for fd, events in self._ready(timeout_ms):
            if fd == self._wakeup_read:
                os.read(fd, 4096)
            elif fd == self._output and events & (select.POLLERR | select.POLLHUP):
                self.reader_gone = True
                self._output, gone = None, (fd,)
            elif fd in self._watched and events & ~select.POLLIN:  # a CPU that went offline: POLLHUP for ever
                self._poll.unregister(fd)
        for fd in {*blocked, *gone}:
            if fd == self._output:
                self._poll.modify(fd, 0)
            else:
                self._poll.unregister(fd)

    def _ready(self, timeout_ms: int | None) -> list[tuple[int, int]]:
        try:
            return self._poll.poll(timeout_ms)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            time.sleep(UNPOLLED_S)  # somebody has lowered RLIMIT_NOFILE below the number of descriptors
            return []

    def _watch(self) -> None:
        """Watch the descriptors that there are now: CPUs come and go."""
        current = set(self._fds())
        for fd in self._watched - current:
            with suppress(KeyError):
                self._poll.unregister(fd)
        for fd in current - self._watched:
            self._poll.register(fd, select.POLLIN)
        self._watched = current

    def take_hangup(self) -> bool:
        """Say whether SIGHUP was received since the last call."""
        hangup, self._hangup = self._hangup, False
        return hangup
