# SPDX-License-Identifier: Apache-2.0
"""`oomtrace`: one line for each kill, until it is stopped."""

from __future__ import annotations

import os
import signal
from argparse import Namespace
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

from ooMtrace.commands import Say, options
from ooMtrace.commands.reload import Reloader
from ooMtrace.errors import SinkError
from ooMtrace.output.outbox import Outbox
from ooMtrace.output.sink import ClosedPipeError, LaterError
from ooMtrace.output.stream import StreamSink
from ooMtrace.reconcile.checkpoint import open_checkpoint
from ooMtrace.runtime.capabilities import drop_all_but, has_bpf, needed
from ooMtrace.runtime.line_writer import LineWriter
from ooMtrace.runtime.notify import Notifier
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
    services = dict(settings.services)
    settings = replace(settings, services=services)  # the enricher looks there at each kill, so that a reload counts
    outbox = Outbox(StreamSink(arguments.output), say)
    with (
        open_checkpoint(arguments.state, say) as store,
        attached(settings, say, verbose=arguments.verbose, since=store.checkpoint) as tracer,
    ):
        _protect(settings, say, files=arguments.output is not None or arguments.ready_file is not None)
        writer = LineWriter(tracer, outbox, store, pretty=arguments.pretty)
        changeable = {"pretty": partial(setattr, writer, "pretty"), "services": partial(_replace, services)}
        reloader = Reloader(getattr(arguments, "configuration", None), say, changeable)
        notifier = Notifier(os.environ, lambda: _status(tracer, writer))
        with (
            Poller(tracer.fds, 1 if arguments.output is None else None) as poller,
            ready_file(arguments.ready_file),
        ):
            try:
                notifier.ready()
                _loop(tracer, writer, outbox, poller, notifier, partial(_reload, outbox, reloader, notifier, say))
            except ClosedPipeError:
                return 0
            finally:
                outbox.close()
                notifier.close()
    if unwritten := writer.dropped + outbox.held:
        raise SinkError(f"{unwritten} lines could not be written", "check the reader and the free space")
    return 0


def _loop(
    tracer: Tracer, writer: LineWriter, outbox: Outbox, poller: Poller, notifier: Notifier, reload: Callable[[], None]
) -> None:
    writer.write(tracer.catch_up())
    while not poller.stopped and not poller.reader_gone:
        poller.wait(_earliest(writer.timeout_ms(), notifier.timeout_ms()), outbox.blocked_fd())
        if poller.take_hangup():
            reload()
        writer.pump()
        notifier.pulse()
    notifier.stopping()
    writer.finish()


def _earliest(*timeouts: int | None) -> int | None:
    return min((timeout for timeout in timeouts if timeout is not None), default=None)


def _status(tracer: Tracer, writer: LineWriter) -> str:
    kills = f"{writer.kills} {'kill' if writer.kills == 1 else 'kills'}"
    return f"level {tracer.level}; {kills} reported, {writer.lost} lost"


def _protect(settings: Settings, say: Say, *, files: bool) -> None:
    """Outlive the victims, and keep no more capabilities than tracing takes."""
    lower_oom_score(say)
    lock_memory(say)
    drop_all_but(needed(network=settings.network, files=files, has_bpf=has_bpf()), say)


def _reload(outbox: Outbox, reloader: Reloader, notifier: Notifier, say: Say) -> None:
    notifier.reloading()
    _reopen(outbox, say)
    reloader.reload()
    notifier.ready()


def _replace(services: dict[int, str], given: Iterable[tuple[int, str]] | None) -> None:
    services.clear()
    services.update(given or ())


def _reopen(outbox: Outbox, say: Say) -> None:
    try:
        outbox.reopen()
    except LaterError as error:
        say(f"{error.fact}; still writing to the file that was open before")
