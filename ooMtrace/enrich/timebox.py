# SPDX-License-Identifier: Apache-2.0
"""System calls that may hang, in a thread of their own and with a timeout."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread


class TimeBoxedWorker:
    """Runs one task at a time in a thread of its own.

    A task that overruns its timeout keeps its thread, and until it ends no other task is started: however often a
    system call hangs, no more than one thread does. The thread is a daemon and does not prevent the process from
    exiting.

    Args:
        name: Name of the thread.
        timeout_s: How long `run` waits for a task, in seconds.
    """

    def __init__(self, name: str, timeout_s: float) -> None:
        self._name = name
        self._timeout_s = timeout_s
        self._thread: Thread | None = None

    def is_busy(self) -> bool:
        """Return whether an earlier task still runs; no other is started then."""
        return self._thread is not None and self._thread.is_alive()

    def run(self, task: Callable[[], None]) -> bool:
        """Start a task and wait for it, but no longer than the timeout; return whether it was started.

        The caller learns what it found through what the task itself changes. It must raise nothing.
        """
        if self.is_busy():
            return False
        thread = Thread(target=task, name=self._name, daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the limit on threads is reached
            return False
        self._thread = thread
        thread.join(self._timeout_s)
        return True
