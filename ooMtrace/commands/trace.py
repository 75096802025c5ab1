# SPDX-License-Identifier: Apache-2.0
"""`oomtrace`: one line for each kill, until it is stopped."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ooMtrace.commands import Options, Say, attached
from ooMtrace.encode import encode
from ooMtrace.errors import SinkError
from ooMtrace.record import OomKill
from ooMtrace.sinks.outbox import Outbox
from ooMtrace.sinks.stream import ClosedPipeError, LaterError, StreamSink
from ooMtrace.waiting import Waiter

PATIENCE_S = 5
"""For who reads our output, when we end."""


def run(options: Options, say: Say) -> int:
    """Trace until SIGINT or SIGTERM, or until nobody reads any more; return the exit code.

    Raises:
        SinkError: Not all lines could be written.
    """
    outbox = Outbox(StreamSink(options.output), say)
    refused = 0

    def write(kills: Iterable[OomKill]) -> None:
        nonlocal refused
        for kill in kills:
            refused += not outbox.put(encode(kill, pretty=options.pretty))
            outbox.flush()

    output = 1 if options.output is None else None
    with attached(options, say) as tracer, Waiter(tracer.fds(), output) as waiter, _ready(options.ready_file):
        try:
            while not waiter.stopped and not waiter.unread:
                waiter.wait(_sooner(tracer.timeout_ms(), outbox.retry_ms()), outbox.blocked_fd())
                if waiter.take_hangup():
                    _reopen(outbox, say)
                outbox.flush()
                write(tracer.kills())
            write(tracer.rest())
            outbox.drain(PATIENCE_S)
        except ClosedPipeError:
            return 0
        finally:
            outbox.close()
    if refused + outbox.held:
        raise SinkError(
            f"{refused + outbox.held} lines could not be written", "see that the output is read and has room"
        )
    return 0


def _sooner(*times_ms: int | None) -> int | None:
    return min((ms for ms in times_ms if ms is not None), default=None)


def _reopen(outbox: Outbox, say: Say) -> None:
    try:
        outbox.reopen()
    except LaterError as error:
        say(f"{error.fact}; the file that was open before is kept")


@contextmanager
def _ready(path: Path | None) -> Iterator[None]:
    """Keep a file with our pid as long as the probes are attached."""
    if path is None:
        yield
        return
    try:
        path.write_text(f"{os.getpid()}\n")
    except OSError as error:
        raise SinkError(f"{path}: {error.strerror}", "choose another --ready-file") from error
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
