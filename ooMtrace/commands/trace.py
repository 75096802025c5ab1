# SPDX-License-Identifier: Apache-2.0
"""`oomtrace`: one line for each kill, until it is stopped."""

from __future__ import annotations

import signal
from argparse import Namespace

from ooMtrace.commands import Say, options
from ooMtrace.errors import SinkError
from ooMtrace.output.outbox import Outbox
from ooMtrace.output.sink import ClosedPipeError, LaterError
from ooMtrace.output.stream import StreamSink
from ooMtrace.reconcile.checkpoint import open_checkpoint
from ooMtrace.runtime.capabilities import drop_all_but, has_bpf, needed
from ooMtrace.runtime.line_writer import LineWriter
from ooMtrace.runtime.pipeline import Tracer
from ooMtrace.runtime.poller import Poller
from ooMtrace.runtime.ready_file import ready_file
from ooMtrace.runtime.self_protection import lock_memory, lower_oom_score
from ooMtrace.runtime.startup import attached
from ooMtrace.settings import Settings


def run(arguments: Namespace, say: Say) -> int:
    """Trace until SIGINT or SIGTERM, or until nobody reads the output any more.

    Raises:
        CannotTraceError: No level can be reached, or none as high as required.
        StateError: The state directory can't be used.
        SinkError: Not all lines could be written.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until the loop takes it: attaching takes a second
    settings = options.settings(arguments)
    outbox = Outbox(StreamSink(arguments.output), say)
    with (
        open_checkpoint(arguments.state, say) as store,
        attached(settings, say, verbose=arguments.verbose, since=store.checkpoint) as tracer,
    ):
        _protect(settings, say, files=arguments.output is not None or arguments.ready_file is not None)
        writer = LineWriter(tracer, outbox, store, pretty=arguments.pretty)
        with (
            Poller(tracer.fds, 1 if arguments.output is None else None) as poller,
            ready_file(arguments.ready_file),
        ):
            try:
                _loop(tracer, writer, outbox, poller, say)
            except ClosedPipeError:
                return 0
            finally:
                outbox.close()
    if unwritten := writer.dropped + outbox.held:
        raise SinkError(f"{unwritten} lines could not be written", "check the reader and the free space")
    return 0


def _loop(tracer: Tracer, writer: LineWriter, outbox: Outbox, poller: Poller, say: Say) -> None:
    writer.write(tracer.catch_up())
    while not poller.stopped and not poller.reader_gone:
        poller.wait(writer.timeout_ms(), outbox.blocked_fd())
        if poller.take_hangup():
            _reopen(outbox, say)
        writer.pump()
    writer.finish()


def _protect(settings: Settings, say: Say, *, files: bool) -> None:
    """Outlive the victims, and keep no more capabilities than tracing takes."""
    lower_oom_score(say)
    lock_memory(say)
    drop_all_but(needed(network=settings.network, files=files, has_bpf=has_bpf()), say)


def _reopen(outbox: Outbox, say: Say) -> None:
    try:
        outbox.reopen()
    except LaterError as error:
        say(f"{error.fact}; still writing to the file that was open before")
