# SPDX-License-Identifier: Apache-2.0
"""`oomtrace`: one line for each kill, until it is stopped."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ooMtrace.commands import Options, settings
from ooMtrace.errors import SinkError
from ooMtrace.output.outbox import Outbox
from ooMtrace.output.sink import ClosedPipeError, LaterError
from ooMtrace.output.stream import StreamSink
from ooMtrace.reconcile.checkpoint import Checkpoint, open_checkpoint
from ooMtrace.runtime.capabilities import drop_all_but, has_bpf, needed
from ooMtrace.runtime.line_writer import LineWriter
from ooMtrace.runtime.pipeline import Tracer
from ooMtrace.runtime.poller import Poller
from ooMtrace.runtime.self_protection import lock_memory, lower_oom_score
from ooMtrace.runtime.startup import Say, attached


def run(options: Options, say: Say) -> int:
    """Trace until SIGINT or SIGTERM, or until nobody reads any more; return the exit code.

    Raises:
        SinkError: Not all lines could be written.
    """
    outbox = Outbox(StreamSink(options.output), say)
    output = 1 if options.output is None else None
    with (
        open_checkpoint(options.state, say) as store,
        _settled(options, say, store.checkpoint) as tracer,
        Poller(tracer.fds, output) as poller,
        _ready(options.ready_file),
    ):
        writer = LineWriter(tracer, outbox, store, pretty=options.pretty)
        try:
            writer.write(tracer.catch_up())
            while not poller.stopped and not poller.reader_gone:
                poller.wait(writer.timeout_ms(), outbox.blocked_fd())
                if poller.take_hangup():
                    _reopen(outbox, say)
                writer.pump()
            writer.finish()
        except ClosedPipeError:
            return 0
        finally:
            outbox.close()
    if unwritten := writer.dropped + outbox.held:
        raise SinkError(f"{unwritten} lines could not be written", "check the reader and the free space")
    return 0


def _reopen(outbox: Outbox, say: Say) -> None:
    try:
        outbox.reopen()
    except LaterError as error:
        say(f"{error.fact}; the file that was open before is kept")


@contextmanager
def _settled(options: Options, say: Say, since: Checkpoint | None) -> Iterator[Tracer]:
    """Trace in such a way that we outlive what dies, and with no more power than that takes."""
    with attached(settings(options), say, verbose=options.verbose, since=since) as tracer:
        lower_oom_score(say)
        lock_memory(say)
        files = options.output is not None or options.ready_file is not None
        drop_all_but(needed(network=options.network, files=files, has_bpf=has_bpf()), say)
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
