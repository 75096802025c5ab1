# SPDX-License-Identifier: Apache-2.0
"""Lines to a file descriptor: stdout, a pipe or a file that can be reopened."""

from __future__ import annotations

import os
import select
from pathlib import Path

from ooMtrace.errors import SinkError


class ClosedPipeError(SinkError):
    """Nobody reads any more: the end of the work, not a failure."""


class StreamSink:
    """Writes whole lines.

    Args:
        path: The file to append to; None: stdout.

    Raises:
        SinkError: The file can't be opened or written.
        ClosedPipeError: The reader of a pipe has gone.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._fd = 1 if path is None else _open(path)

    def write(self, line: bytes) -> None:
        """Write one line, whole; a signal or a slow pipe may take several calls for it."""
        try:
            while line:
                line = line[self._write_some(line) :]
        except BrokenPipeError as error:
            raise ClosedPipeError("nobody reads the output any more") from error
        except OSError as error:
            name = self._path or "stdout"
            raise SinkError(f"{name}: {error.strerror}", "free space there or choose another --output") from error

    def _write_some(self, line: bytes) -> int:
        try:
            return os.write(self._fd, line)
        except BlockingIOError:  # whoever shares the pipe with us may have made it non-blocking
            ready = select.poll()
            ready.register(self._fd, select.POLLOUT)
            ready.poll()
            return 0

    def reopen(self) -> None:
        """Open the file anew, for it may have been renamed (logrotate); stdout stays as it is."""
        if self._path is not None:
            fresh = _open(self._path)
            os.close(self._fd)
            self._fd = fresh

    def close(self) -> None:
        """Close the file; stdout belongs to whoever gave it to us."""
        if self._path is not None:
            os.close(self._fd)


def _open(path: Path) -> int:
    # Kills tell about other people's processes: for root and its group only.
    try:
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise SinkError(f"{path}: {error.strerror}", "choose a file that can be written with --output") from error
