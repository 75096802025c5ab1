# SPDX-License-Identifier: Apache-2.0
"""Lines to a file descriptor: stdout, a pipe or a file that can be reopened."""

from __future__ import annotations

import errno
import os
import select
import stat
from contextlib import suppress
from pathlib import Path

from ooMtrace.errors import SinkError

LATER = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


class ClosedPipeError(SinkError):
    """Nobody reads any more: the end of the work, not a failure."""


class LaterError(SinkError):
    """It cannot be opened or written now, and may be later."""


class StreamSink:
    """Writes whole lines.

    Args:
        path: The file to append to; None: stdout.

    Raises:
        LaterError: The file cannot be opened, or there is no room.
        SinkError: It cannot be written.
        ClosedPipeError: The reader of a pipe has gone.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self.name = str(path or "stdout")
        self._use(1 if path is None else _open(path))

    def _use(self, fd: int) -> None:
        self.fd = fd
        self._waits = not stat.S_ISREG(os.fstat(fd).st_mode)
        self._torn = self._path is not None and _torn(self._path)

    def never_wait(self) -> None:
        """Let no write wait. O_NONBLOCK is for all who share a descriptor: of stdout we need one of our own."""
        if self._path is not None:
            os.set_blocking(self.fd, False)
        elif self._waits:
            with suppress(OSError):  # a socket
                self.fd = os.open(f"/proc/self/fd/{self.fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)

    def write(self, line: bytes) -> None:
        """Write one line, whole; a signal or a slow pipe may take several calls for it."""
        while line:
            line = line[self.write_some(line) :]
            if line:
                self.writable(None)

    def write_some(self, line: bytes) -> int:
        """Write what can be written without waiting, and return how much of the line that is."""
        try:
            if self._torn:  # as few as one byte, for whoever reads must see where our line begins
                os.write(self.fd, b"\n")
                self._torn = False
            return self._write_now(line)
        except BlockingIOError:  # a terminal, or a pipe into which others write, too
            return 0
        except ConnectionError as error:
            raise ClosedPipeError("nobody reads the output any more") from error
        except OSError as error:
            # A terminal that has gone says EIO, too.
            later = error.errno in LATER or (error.errno == errno.EIO and not self._waits)
            kind = LaterError if later else SinkError
            raise kind(f"{self.name}: {error.strerror}", "free space there or choose another --output") from error

    def _write_now(self, line: bytes) -> int:
        """A pipe or socket that is writable takes so much without waiting."""
        if not self._waits:
            return os.write(self.fd, line)
        return os.write(self.fd, line[: select.PIPE_BUF]) if self.writable(0) else 0

    def writable(self, timeout_ms: int | None) -> bool:
        """Wait until something can be written, or the reader has gone (None: for ever); say whether."""
        ready = select.poll()
        ready.register(self.fd, select.POLLOUT)
        return bool(ready.poll(timeout_ms))

    def removed(self) -> bool:
        """Say whether the file has no name any more: nobody will read it."""
        return self._path is not None and os.fstat(self.fd).st_nlink == 0

    def emptied(self) -> bool:
        """Say whether it is a file with nothing in it: somebody may have made room so."""
        return not self._waits and os.fstat(self.fd).st_size == 0

    def reopen(self) -> bool:
        """Open the file anew, for it may have been renamed (logrotate), and say whether it is another one.

        stdout stays as it is, and so does a file that cannot be opened anew.
        """
        if self._path is None:
            return False
        fresh = _open(self._path, os.O_NONBLOCK)  # a FIFO that nobody reads must not keep us
        before = self.fd
        other = not os.path.sameopenfile(before, fresh)
        if other:
            self._use(fresh)
        os.close(before if other else fresh)
        return other

    def close(self) -> None:
        """Close the file; stdout belongs to whoever gave it to us."""
        if self.fd != 1:
            os.close(self.fd)


def _open(path: Path, flags: int = 0) -> int:
    # Kills tell about other people's processes: for root and its group only.
    try:
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | flags, 0o640)
    except OSError as error:
        raise LaterError(f"{path}: {error.strerror}", "choose a file that can be written with --output") from error


def _torn(path: Path) -> bool:
    """Say whether the last line of a file was never finished: the disk was full, or its writer was killed."""
    with suppress(OSError):  # may be for writing only
        if path.is_file() and path.stat().st_size:
            with path.open("rb") as file:
                file.seek(-1, os.SEEK_END)
                return file.read() != b"\n"
    return False
