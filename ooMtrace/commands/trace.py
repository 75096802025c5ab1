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
from ooMtrace.commands.formats import outputs_format
from ooMtrace.commands.reload import Reloader
from ooMtrace.output.open import open_outputs
from ooMtrace.output.outputs import Outputs
from ooMtrace.output.sink import ClosedPipeError
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
    outputs = open_outputs(arguments.output or (), say, outputs_format(arguments))
    with (
        open_checkpoint(arguments.state, say) as store,
        attached(settings, say, verbose=arguments.verbose, since=store.checkpoint) as tracer,
    ):
        _protect(settings, say, files=outputs.needs_files or arguments.ready_file is not None)
        outputs.start(tracer.level)
        writer = LineWriter(tracer, outputs, store)
        reloader = Reloader(getattr(arguments, "configuration", None), say, {"services": partial(_replace, services)})
        notifier = Notifier(os.environ, lambda: _status(tracer, writer))
        with (
            Poller(lambda: [*tracer.fds(), *outputs.fds()], 1 if outputs.has_stdout else None) as poller,
            ready_file(arguments.ready_file),
        ):
            try:
                notifier.ready()
                _loop(tracer, writer, outputs, poller, notifier, partial(_reload, outputs, reloader, notifier))
            except ClosedPipeError:
                return 0
            finally:
                outputs.close()
                notifier.close()
    outputs.check_all_written(writer.dropped)
    return 0


def _loop(
    tracer: Tracer, writer: LineWriter, outputs: Outputs, poller: Poller, notifier: Notifier, reload: Callable[[], None]
) -> None:
    writer.write(tracer.catch_up())
    while not poller.stopped and _has_reader(poller, outputs):
        poller.wait(_earliest(writer.timeout_ms(), notifier.timeout_ms()), outputs.blocked_fds())
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


def _has_reader(poller: Poller, outputs: Outputs) -> bool:
    """Say whether somebody reads stdout still, or there is another output."""
    if poller.reader_gone:
        poller.reader_gone = not outputs.lose_reader()
    return not poller.reader_gone


def _protect(settings: Settings, say: Say, *, files: bool) -> None:
    """Outlive the victims, and keep no more capabilities than tracing takes."""
    lower_oom_score(say)
    lock_memory(say)
    drop_all_but(needed(network=settings.network, files=files, has_bpf=has_bpf()), say)


def _reload(outputs: Outputs, reloader: Reloader, notifier: Notifier) -> None:
    notifier.reloading()
    outputs.reopen()
    reloader.reload()
    notifier.ready()


def _replace(services: dict[int, str], given: Iterable[tuple[int, str]] | None) -> None:
    services.clear()
    services.update(given or ())
