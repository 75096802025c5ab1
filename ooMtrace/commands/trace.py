# SPDX-License-Identifier: Apache-2.0
"""`oomtrace`: one line for each kill, until it is stopped."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ooMtrace.commands import Options, Say, attached
from ooMtrace.errors import SinkError
from ooMtrace.output.outbox import Outbox
from ooMtrace.output.stream import ClosedPipeError, LaterError, StreamSink
from ooMtrace.reconcile.checkpoint import State
from ooMtrace.runtime.capabilities import has_bpf, keep_only, needed
from ooMtrace.runtime.line_writer import Desk, kept
from ooMtrace.runtime.pipeline import Tracer
from ooMtrace.runtime.poller import Waiter
from ooMtrace.runtime.self_protection import spare_us, stay_resident


def run(options: Options, say: Say) -> int:
    """Trace until SIGINT or SIGTERM, or until nobody reads any more; return the exit code.

    Raises:
        SinkError: Not all lines could be written.
    """
    outbox = Outbox(StreamSink(options.output), say)
    output = 1 if options.output is None else None
    with (
        kept(options.state, say) as memory,
        _settled(options, say, memory.state) as tracer,
        Waiter(tracer.fds, output) as waiter,
        _ready(options.ready_file),
    ):
        desk = Desk(tracer, outbox, memory, pretty=options.pretty)
        try:
            desk.write(tracer.earlier())
            while not waiter.stopped and not waiter.unread:
                waiter.wait(desk.timeout_ms(), outbox.blocked_fd())
                if waiter.take_hangup():
                    _reopen(outbox, say)
                desk.work()
            desk.finish()
        except ClosedPipeError:
            return 0
        finally:
            outbox.close()
    if unwritten := desk.refused + outbox.held:
        raise SinkError(f"{unwritten} lines could not be written", "see that the output is read and has room")
    return 0


def _reopen(outbox: Outbox, say: Say) -> None:
    try:
        outbox.reopen()
    except LaterError as error:
        say(f"{error.fact}; the file that was open before is kept")


@contextmanager
def _settled(options: Options, say: Say, since: State | None) -> Iterator[Tracer]:
    """Trace in such a way that we outlive what dies, and with no more power than that takes."""
    with attached(options, say, since) as tracer:
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
