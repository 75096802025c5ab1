# SPDX-License-Identifier: Apache-2.0
"""Writes lines to a file descriptor: stdout, a pipe, or a file that can be reopened."""

from __future__ import annotations

import errno
import os
import select
import stat
from contextlib import suppress
from pathlib import Path

from ooMtrace.errors import SinkError
from ooMtrace.output.sink import ClosedPipeError, LaterError

RETRYABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


class StreamSink:
    """Writes whole lines.

    Args:
        path: The file to append to; None: stdout.

    Raises:
        LaterError: The file cannot be opened, or there is no space left.
        SinkError: It cannot be written.
        ClosedPipeError: The reader has closed the pipe.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self.name = str(path or "stdout")
        self._use(1 if path is None else _open(path))

    def _use(self, fd: int) -> None:
        self.fd = fd
        self._can_block = not stat.S_ISREG(os.fstat(fd).st_mode)
        self._is_mid_line = self._path is not None and _ends_mid_line(self._path)

    def never_wait(self) -> None:
        """Make writes non-blocking.

        O_NONBLOCK affects all who share an open file description: for stdout it takes one of our own.
        """
        if self._path is not None:
            os.set_blocking(self.fd, False)
        elif self._can_block:
            with suppress(OSError):  # a socket, or no /proc
                self.fd = os.open(f"/proc/self/fd/{self.fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)

    def write(self, line: bytes) -> None:
        """Write a whole line; a signal or a slow reader may make that several writes."""
        while line:
            line = line[self.write_some(line) :]
            if line:
                self.writable(None)

    def write_some(self, line: bytes) -> int:
        """Write as much as is possible without waiting, and return the number of bytes."""
        try:
            if self._is_mid_line:  # a single byte, so it is written whole: our line starts a new one
                os.write(self.fd, b"\n")
                self._is_mid_line = False
            return self._write_now(line)
        except BlockingIOError:  # a terminal, or a pipe with other writers
            return 0
        except ConnectionError as error:
            raise ClosedPipeError("the reader has closed the output") from error
        except OSError as error:
            raise self._error(error) from error

    def _write_now(self, line: bytes) -> int:
        """A pipe or socket that is writable takes PIPE_BUF bytes without blocking."""
        if not self._can_block:
            return os.write(self.fd, line)
        return os.write(self.fd, line[: select.PIPE_BUF]) if self.writable(0) else 0

    def _error(self, error: OSError) -> SinkError:
        # EIO of a file may pass; of a terminal it means that the terminal is gone.
        is_retryable = error.errno in RETRYABLE or (error.errno == errno.EIO and not self._can_block)
        kind = LaterError if is_retryable else SinkError
        return kind(f"{self.name}: {error.strerror}", "free space there, or choose another file with --output")

    def writable(self, timeout_ms: int | None) -> bool:
        """Wait until it can be written or the reader has closed it (None: without limit); return whether it is so."""
        poll = select.poll()
        poll.register(self.fd, select.POLLOUT)
        return bool(poll.poll(timeout_ms))

    def removed(self) -> bool:
        """Return whether the file has no name any more, so that nobody will read it."""
        return self._path is not None and os.fstat(self.fd).st_nlink == 0

    def emptied(self) -> bool:
        """Return whether it is an empty file: somebody may have truncated it to free space."""
        return not self._can_block and os.fstat(self.fd).st_size == 0

    def reopen(self) -> bool:
        """Open the file again, for it may have been renamed (logrotate); return whether it is another file.

        stdout stays as it is. Raises LaterError if the file cannot be opened; then the one that is open is kept.
        """
        if self._path is None:
            return False
        fresh = _open(self._path, os.O_NONBLOCK)  # open(2) of a FIFO without a reader must not block
        before = self.fd
        is_other = not os.path.sameopenfile(before, fresh)
        if is_other:
            self._use(fresh)
        os.close(before if is_other else fresh)
        return is_other

    def close(self) -> None:
        """Close the file; stdout belongs to the parent process and stays open."""
        if self.fd != 1:
            os.close(self.fd)


def _open(path: Path, flags: int = 0) -> int:
    # Lines describe other users' processes: readable by root and its group only.
    try:
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | flags, 0o640)
    except OSError as error:
        raise LaterError(f"{path}: {error.strerror}", "choose a writable file with --output") from error


def _ends_mid_line(path: Path) -> bool:
    """Return whether the last line of a file is incomplete: the disk was full, or the writer was killed."""
    with suppress(OSError):  # the file may be write-only
        if path.is_file() and path.stat().st_size:
            with path.open("rb") as file:
                file.seek(-1, os.SEEK_END)
                return file.read() != b"\n"
    return False
