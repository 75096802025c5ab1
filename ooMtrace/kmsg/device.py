# SPDX-License-Identifier: Apache-2.0
"""The kernel log, /dev/kmsg (Documentation/ABI/testing/dev-kmsg), record by record."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

KMSG = Path("/dev/kmsg")
MAX_RECORD = 8192
"""Bytes: CONSOLE_EXT_LOG_MAX."""


class KernelLog:
    """The kernel log, opened at its beginning or at its end.

    Attributes:
        fd: Becomes readable when there are new records.
        gaps: How often records were overwritten before they were read, not counting those before the first one read.

    Raises:
        OSError: It does not exist, or must not be read (kernel.dmesg_restrict).
    """

    def __init__(self, path: Path = KMSG, *, at_end: bool = False) -> None:
        self.gaps = 0
        self._started = at_end
        self.fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        if at_end:
            os.lseek(self.fd, 0, os.SEEK_END)

    def records(self) -> Iterator[bytes]:
        """Yield the records up to the present end of the log, each with its newline."""
        while True:
            try:
                record = os.read(self.fd, MAX_RECORD)
            except BrokenPipeError:  # overwritten: the next read continues with the oldest record that is left
                self.gaps += self._started
                continue
            except BlockingIOError:
                return
            if not record:  # a regular file
                return
            self._started = True
            yield record

    def close(self) -> None:
        """Close the file descriptor; a second call does nothing."""
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1
