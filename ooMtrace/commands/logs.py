# SPDX-License-Identifier: Apache-2.0
"""`oomtrace logs`: the OOM kills that kernel logs tell of, in the same lines as those that are traced."""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import lzma
import os
import time
import zlib
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

from ooMtrace.commands import Options
from ooMtrace.errors import OomtraceError
from ooMtrace.kernel.snapshot import EPOCH, rfc3339, take_snapshot
from ooMtrace.kmsg.boot_log import read_boot_log
from ooMtrace.kmsg.device import KMSG, KernelLog
from ooMtrace.kmsg.scanner import kills
from ooMtrace.kmsg.to_record import Origin, with_seq
from ooMtrace.output.encode import encode
from ooMtrace.output.sink import ClosedPipeError
from ooMtrace.output.stream import StreamSink
from ooMtrace.output.terminal import escape_control
from ooMtrace.record import OomKill
from ooMtrace.runtime.host import read_host
from ooMtrace.runtime.startup import Say

STDIN = "-"
BLOCK = 1 << 20
LONGEST_MAGIC = 6
HINTS = {
    errno.ENOENT: "check the name",
    errno.EACCES: "become root, or a member of the group adm",
    errno.EPERM: "become root, or name a file: oomtrace logs FILE",
    errno.EISDIR: "name the files in it",
}

DAMAGED = (EOFError, OSError, zlib.error, lzma.LZMAError)

BAR = LONGEST_NAME = 30
"""Characters: together with the rest less than the 80 of a small terminal, for only one line can be taken back."""

BAR_EVERY_S = 0.2


class LogError(OomtraceError):
    """A log cannot be read, or not to its end."""


def run(options: Options, say: Say) -> int:
    """Write a line for each kill in the logs; return the exit code: 1 if one of them could not be read to its end."""
    sink = StreamSink(options.output)
    seq, failed = 0, False
    try:
        for name in options.files or (str(KMSG),):
            log = _Log(name)
            for kill in _kills(log):
                seq += 1
                sink.write(encode(with_seq(kill, seq), pretty=options.pretty))
            if log.error is not None:
                say(str(log.error))
                failed = True
    except ClosedPipeError:
        return 0
    finally:
        sink.close()
    return 1 if failed else 0


def _kills(log: _Log) -> Iterator[OomKill]:
    moment = take_snapshot()
    if log.name == str(KMSG):  # of this boot: its clock is ours, and so is its host
        if known := read_boot_log(read_host(), kmsg=Path(KMSG)):
            return iter(known.kills)
        origin = Origin(rfc3339(moment.realtime), read_host(), moment.realtime - moment.monotonic)
        return kills(log.records(), origin, _latest(moment.realtime))
    return kills(log.blocks(), Origin(rfc3339(moment.realtime)), _latest(log.written(moment.realtime)))


def _latest(realtime: int) -> datetime:
    """Return when the youngest line may be from, in the local zone: a day later, for the writer's zone may be another.

    A line that seems to be of tomorrow is more likely from further east than a year old.
    """
    return (EPOCH + timedelta(microseconds=realtime // 1000)).astimezone() + timedelta(days=1)


class _Log:
    """One log, and what went wrong with it: what was read until then is kept.

    Args:
        name: A path, or `-`.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.error: LogError | None = None

    def written(self, realtime: int) -> int:
        """Return when it was last written, if that is known and before now."""
        try:
            return realtime if self.name == STDIN else min(realtime, Path(self.name).stat().st_mtime_ns)
        except OSError:
            return realtime

    def blocks(self) -> Iterator[bytes]:
        """Yield the contents, decompressed if they begin as such."""
        begun = False
        try:
            with self._opened() as file, _Bar(self.name, file) as bar:
                source = _plain(file)
                while block := source.read1(BLOCK):
                    begun = True
                    bar.show()
                    yield block
        except DAMAGED as error:
            self._failed(error, begun=begun)

    def records(self) -> Iterator[bytes]:
        """Yield the records of /dev/kmsg up to its end."""
        begun = False
        try:
            with closing(KernelLog(Path(self.name))) as log:
                for record in log.records():
                    begun = True
                    yield record
        except OSError as error:
            self._failed(error, begun=begun)

    def _opened(self) -> io.BufferedReader:
        fd = os.dup(0) if self.name == STDIN else os.open(self.name, os.O_RDONLY | os.O_CLOEXEC)
        return io.BufferedReader(io.FileIO(fd, "rb"), BLOCK)

    def _failed(self, error: Exception, *, begun: bool) -> None:
        number = error.errno if isinstance(error, OSError) else None
        fact = error.strerror if isinstance(error, OSError) and error.strerror else f"damaged: {error}"
        hint = "the kills up to there are kept" if begun else HINTS.get(number or 0, "pipe it in: oomtrace logs -")
        self.error = LogError(f"{self.name}: {fact}", hint)


def _plain(file: io.BufferedReader) -> io.BufferedReader | gzip.GzipFile | lzma.LZMAFile | bz2.BZ2File:
    """Decompress what begins as if it were compressed; the name may be any."""
    begin = file.peek(LONGEST_MAGIC)
    if begin.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=file)
    if begin.startswith(b"\xfd7zXZ\0"):
        return lzma.LZMAFile(file)
    return bz2.BZ2File(file) if begin.startswith(b"BZh") else file


class _Bar:
    """How far a file is read, on stderr, for people only: if that is a terminal, and the size is known."""

    def __init__(self, name: str, file: io.BufferedReader) -> None:
        self._name = escape_control(name)[-LONGEST_NAME:]
        self._file = file
        self._size = os.fstat(file.fileno()).st_size if os.isatty(2) else 0
        self._shown = time.monotonic()

    def show(self) -> None:
        """Draw it, now and then."""
        if not self._size or time.monotonic() - self._shown < BAR_EVERY_S:
            return
        self._shown = time.monotonic()
        part = min(self._file.tell() / self._size, 1.0)
        full = int(part * BAR)
        os.write(2, f"\r{self._name} [{'#' * full}{'.' * (BAR - full)}] {part:4.0%}\x1b[K".encode(errors="replace"))

    def __enter__(self) -> _Bar:
        """Begin with nothing."""
        return self

    def __exit__(self, *_: object) -> None:
        """Take it away, however the reading ended."""
        if self._size:
            os.write(2, b"\r\x1b[K")
