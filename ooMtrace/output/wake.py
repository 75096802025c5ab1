# SPDX-License-Identifier: Apache-2.0
"""Wakes up the main loop from a thread."""

from __future__ import annotations

import os


class Wake:
    """A file descriptor that is readable after `set`, until `clear`."""

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def set(self) -> None:
        """Make the descriptor readable; any thread may call it."""
        os.eventfd_write(self.fd, 1)

    def clear(self) -> None:
        """Make the descriptor unreadable."""
        try:
            os.eventfd_read(self.fd)
        except BlockingIOError:
            return
