# SPDX-License-Identifier: Apache-2.0
"""Waiting no longer than a line may wait for what the kernel may never answer."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread


class Patient:
    """Does one thing at a time in a thread of its own. If that hangs it hangs alone, and no other is started."""

    def __init__(self, name: str, seconds: float) -> None:
        self._name = name
        self._seconds = seconds
        self._thread: Thread | None = None

    def hangs(self) -> bool:
        """Tell whether an earlier thing still waits; nothing else is begun then."""
        return self._thread is not None and self._thread.is_alive()

    def begin(self, work: Callable[[], None]) -> bool:
        """Begin, and wait a while for the end; return whether it was begun at all. `work` must raise nothing."""
        if self.hangs():
            return False
        thread = Thread(target=work, name=self._name, daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no more threads are allowed
            return False
        self._thread = thread
        thread.join(self._seconds)
        return True
