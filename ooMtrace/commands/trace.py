# SPDX-License-Identifier: Apache-2.0
"""`oomtrace`: one line for each kill, until it is stopped."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ooMtrace.commands import Options, Say, attached
from ooMtrace.encode import encode
from ooMtrace.errors import SinkError
from ooMtrace.pipeline import Tracer
from ooMtrace.privileges import has_bpf, keep_only, needed
from ooMtrace.record import OomKill
from ooMtrace.self_protection import spare_us, stay_resident
from ooMtrace.sinks.stream import ClosedPipeError, StreamSink
from ooMtrace.waiting import Waiter


def run(options: Options, say: Say) -> int:
    """Trace until SIGINT or SIGTERM, or until nobody reads any more; return the exit code."""
    sink = StreamSink(options.output)

    def write(kills: Iterable[OomKill]) -> None:
        for kill in kills:
            sink.write(encode(kill, pretty=options.pretty))

    output = 1 if options.output is None else None
    with _settled(options, say) as tracer, Waiter(tracer.fds(), output) as waiter, _ready(options.ready_file):
        try:
            while not waiter.stopped and not waiter.unread:
                waiter.wait(tracer.timeout_ms())
                if waiter.take_hangup():
                    sink.reopen()
                write(tracer.kills())
            write(tracer.rest())
        except ClosedPipeError:
            return 0
        finally:
            sink.close()
    return 0


@contextmanager
def _settled(options: Options, say: Say) -> Iterator[Tracer]:
    """Trace in such a way that we outlive what dies, and with no more power than that takes."""
    with attached(options, say) as tracer:
        spare_us(say)
        stay_resident(say)
        files = options.output is not None or options.ready_file is not None
        keep_only(needed(network=options.network, files=files, has_bpf=has_bpf()), say)
        yield tracer


@contextmanager
def _ready(path: Path | None) -> Iterator[None]:
    """Keep a file with our pid as long as the probes are attached."""
    if path is None:
        yield
        return
    try:
        _put(path, f"{os.getpid()}\n".encode())
    except OSError as error:
        raise SinkError(f"{path}: {error.strerror}", "choose another --ready-file") from error
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink()


def _put(path: Path, text: bytes) -> None:
    """Write a new file, in place of one that was left: what a link leads to is never touched."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        os.write(file, text)
    finally:
        os.close(file)
