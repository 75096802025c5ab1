# SPDX-License-Identifier: Apache-2.0
"""One log: opened, read in blocks of text, and what went wrong with it."""

from __future__ import annotations

import errno
import io
import lzma
import os
import stat
import time
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from ooMtrace.commands.decompress import BLOCK, DamagedError, NotTextError, text_blocks
from ooMtrace.errors import OomtraceError
from ooMtrace.kmsg.device import KernelLog
from ooMtrace.output.terminal import escape_control

STDIN = "-"
HINTS = {
    errno.ENOENT: "check the name",
    errno.EACCES: "become root, or a member of the group adm",
    errno.EPERM: "become root, or name a file: oomtrace logs FILE",
    errno.EISDIR: "name the files in it",
}

DAMAGED = (EOFError, OSError, zlib.error, lzma.LZMAError, DamagedError)

BAR = LONGEST_NAME = 30
"""Characters. With the rest they fit into the 80 of a small terminal: only a single row can be erased again."""

BAR_EVERY_S = 0.2


class LogError(OomtraceError):
    """A log cannot be read, or not to its end."""


def stdin_has_log() -> bool:
    """Return whether stdin is a pipe, a socket (some shells make pipes of these) or a file: no terminal, no device."""
    try:
        mode = os.fstat(0).st_mode
    except OSError:  # closed
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or stat.S_ISREG(mode)


class LogFile:
    """One log, and what went wrong with it: kills that were read until then are kept.

    Args:
        name: A path, or `-`.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.shown = "stdin" if name == STDIN else name
        self.error: LogError | None = None

    def last_written(self, realtime: int) -> int:
        """Return when it was last written, if that is known and in the past; else `realtime`; in nanoseconds."""
        try:
            return realtime if self.name == STDIN else min(realtime, Path(self.name).stat().st_mtime_ns)
        except OSError:
            return realtime

    def blocks(self) -> Iterator[bytes]:
        """Yield the contents as UTF-8 text, decompressed."""
        begun = False
        try:
            with self._open() as file, _Bar(self.name, file) as bar:
                for block in text_blocks(file, self.name):
                    begun = True
                    bar.show()
                    yield block
        except NotTextError as error:
            self.error = LogError(f"{self.shown}: {error.fact}", error.hint)
        except DAMAGED as error:
            self._fail(error, begun=begun)

    def records(self) -> Iterator[bytes]:
        """Yield the records of /dev/kmsg up to its end."""
        begun = False
        try:
            with closing(KernelLog(Path(self.name))) as log:
                for record in log.records():
                    begun = True
                    yield record
        except OSError as error:
            self._fail(error, begun=begun)

    def _open(self) -> io.BufferedReader:
        fd = os.dup(0) if self.name == STDIN else os.open(self.name, os.O_RDONLY | os.O_CLOEXEC)
        return io.BufferedReader(io.FileIO(fd, "rb"), BLOCK)

    def _fail(self, error: Exception, *, begun: bool) -> None:
        number = error.errno if isinstance(error, OSError) else None
        fact = error.strerror if isinstance(error, OSError) and error.strerror else f"damaged: {error}"
        hint = "kills up to there are reported" if begun else HINTS.get(number or 0, "pipe it in: oomtrace logs -")
        self.error = LogError(f"{self.shown}: {fact}", hint)


class _Bar:
    """A progress bar on stderr, if that is a terminal and the size of the file is known."""

    def __init__(self, name: str, file: io.BufferedReader) -> None:
        self._name = escape_control(name)[-LONGEST_NAME:]
        self._file = file
        self._size = os.fstat(file.fileno()).st_size if os.isatty(2) else 0
        self._shown = time.monotonic()

    def show(self) -> None:
        """Draw it, at most every BAR_EVERY_S."""
        if not self._size or time.monotonic() - self._shown < BAR_EVERY_S:
            return
        self._shown = time.monotonic()
        part = min(self._file.tell() / self._size, 1.0)
        full = int(part * BAR)
        os.write(2, f"\r{self._name} [{'#' * full}{'.' * (BAR - full)}] {part:4.0%}\x1b[K".encode(errors="replace"))

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._size:
            os.write(2, b"\r\x1b[K")
