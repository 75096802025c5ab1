# SPDX-License-Identifier: Apache-2.0
"""The kernel log itself, /dev/kmsg (Documentation/ABI/testing/dev-kmsg), record by record."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

KMSG = Path("/dev/kmsg")
RECORD = 8192
"""Bytes: CONSOLE_EXT_LOG_MAX, no record is longer."""


class KernelLog:
    """An open kernel log, at its beginning or at its end.

    Attributes:
        fd: Becomes readable when there is more.
        gaps: How often records were overwritten before they were read, other than those at the beginning.

    Raises:
        OSError: It is not there, or not ours to read (kernel.dmesg_restrict).
    """

    def __init__(self, path: Path = KMSG, *, at_end: bool = False) -> None:
        self.gaps = 0
        self._begun = at_end
        self.fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        if at_end:
            os.lseek(self.fd, 0, os.SEEK_END)

    def records(self) -> Iterator[bytes]:
        """Yield the records up to the present end, each with its newline."""
        while True:
            try:
                record = os.read(self.fd, RECORD)
            except BrokenPipeError:  # overwritten: the next read goes on with the oldest that is left
                self.gaps += self._begun
                continue
            except BlockingIOError:
                return
            if not record:  # a file that stands in for it
                return
            self._begun = True
            yield record

    def close(self) -> None:
        """Close it."""
        os.close(self.fd)
