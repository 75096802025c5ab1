# SPDX-License-Identifier: Apache-2.0
"""A thread for what may hang, whose end wakes up the event loop."""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from threading import Thread

MAX_STUCK = 4
"""Threads that may be stuck in a system call; beyond that no other is started."""


class Task:
    """One task, started.

    Attributes:
        done: Whether it has ended.
    """

    def __init__(self, function: Callable[[], None], on_end: Callable[[], None]) -> None:
        self.done = False
        self._function = function
        self._on_end = on_end

    def run(self) -> None:
        """Run it, in its thread."""
        try:
            self._function()
        finally:
            self.done = True
            self._on_end()


class Background:
    """Runs each task in a thread of its own. While no task runs there is no thread, and before the first no file.

    A thread that is stuck in a system call cannot be ended: the caller leaves it alone and starts another, up to
    MAX_STUCK. Threads are daemons and do not prevent the process from exiting.

    Args:
        name: Name of the threads.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._fd = -1
        self._threads: list[tuple[Task, Thread]] = []

    def fds(self) -> list[int]:
        """Return the file descriptor that is readable after a task has ended."""
        return [] if self._fd < 0 else [self._fd]

    def start(self, function: Callable[[], None]) -> Task | None:
        """Start a task, which must raise nothing; None if too many are stuck, or no thread can be started."""
        self._threads = [(task, thread) for task, thread in self._threads if not task.done]
        if len(self._threads) >= MAX_STUCK:
            return None
        task = Task(function, self._wake_up)
        thread = Thread(target=task.run, name=self._name, daemon=True)
        try:
            if self._fd < 0:
                self._fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            thread.start()
        except (OSError, RuntimeError):  # the limit on files or threads is reached
            return None
        self._threads.append((task, thread))
        return task

    def wait(self, timeout_ms: int) -> None:
        """Wait until a task has ended since the last `clear`, but no longer than this."""
        poll = select.poll()
        for fd in self.fds():
            poll.register(fd, select.POLLIN)
        poll.poll(timeout_ms)

    def clear(self) -> None:
        """Make `fds` unreadable until the next task ends."""
        for fd in self.fds():
            try:
                os.eventfd_read(fd)
            except BlockingIOError:
                return

    def close(self) -> None:
        """Close the file, unless a thread that is stuck may still write to it."""
        if self._fd >= 0 and all(task.done for task, _ in self._threads):
            for _, thread in self._threads:
                thread.join()
            os.close(self._fd)
            self._fd = -1

    def _wake_up(self) -> None:
        os.eventfd_write(self._fd, 1)
