# SPDX-License-Identifier: Apache-2.0
"""`oomtrace`: one line for each kill, until it is stopped."""

from __future__ import annotations

import os
import signal
from argparse import Namespace
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from ooMtrace.commands import Say, options
from ooMtrace.commands.formats import outputs_format
from ooMtrace.commands.reload import Reloader
from ooMtrace.output.open import open_outputs
from ooMtrace.output.outputs import Outputs
from ooMtrace.output.sink import ClosedPipeError
from ooMtrace.reconcile.checkpoint import CheckpointStore, open_checkpoint
from ooMtrace.runtime.attach import Attachment, attach_highest
from ooMtrace.runtime.capabilities import Capability, drop_all_but, has_bpf, needed
from ooMtrace.runtime.late_imports import can_import_later, import_all
from ooMtrace.runtime.notify import Notifier
from ooMtrace.runtime.poller import Poller
from ooMtrace.runtime.ready_file import ready_file
from ooMtrace.runtime.self_protection import lock_memory, lower_oom_score
from ooMtrace.settings import Level, Settings

if TYPE_CHECKING:
    from ooMtrace.runtime.line_writer import LineWriter
    from ooMtrace.runtime.pipeline import Tracer


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
        closing(attach_highest(settings, say, verbose=arguments.verbose)) as attachment,
    ):
        _protect(settings, say, files=outputs.needs_files or arguments.ready_file is not None)
        outputs.start(attachment.level)
        writer: LineWriter | None = None
        reloader = Reloader(getattr(arguments, "configuration", None), say, {"services": partial(_replace, services)})
        notifier = Notifier(os.environ, lambda: _status(attachment.level, writer))
        with (
            Poller(lambda: [*tracer.fds(), *outputs.fds()], 1 if outputs.has_stdout else None) as poller,
            ready_file(arguments.ready_file),
        ):
            try:
                notifier.ready()
                tracer, writer = _open_tracer(attachment, say, outputs, store)
                with closing(tracer):
                    _loop(tracer, writer, outputs, poller, notifier, partial(_reload, outputs, reloader, notifier))
            except ClosedPipeError:
                return 0
            finally:
                outputs.close()
                notifier.close()
    outputs.check_all_written(writer.dropped)
    return 0


def _open_tracer(
    attachment: Attachment, say: Say, outputs: Outputs, store: CheckpointStore
) -> tuple[Tracer, LineWriter]:
    """Import what lines need, a third of the time of a start: what happens meanwhile waits in the probes' buffers."""
    from ooMtrace.runtime.line_writer import LineWriter
    from ooMtrace.runtime.startup import open_tracer

    tracer = open_tracer(attachment, say, store.checkpoint)
    return tracer, LineWriter(tracer, outputs, store)


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


def _status(level: Level, writer: LineWriter | None) -> str:
    count, lost = (writer.kills, writer.lost) if writer else (0, 0)
    return f"level {level}; {count} {'kill' if count == 1 else 'kills'} reported, {lost} lost"


def _has_reader(poller: Poller, outputs: Outputs) -> bool:
    """Say whether somebody reads stdout still, or there is another output."""
    if poller.reader_gone:
        poller.reader_gone = not outputs.lose_reader()
    return not poller.reader_gone


def _protect(settings: Settings, say: Say, *, files: bool) -> None:
    """Outlive the victims, and keep no more capabilities than tracing takes."""
    lower_oom_score(say)
    lock_memory(say)
    kept = needed(network=settings.network, files=files, has_bpf=has_bpf())
    if Capability.DAC_OVERRIDE not in kept and not can_import_later():
        import_all()
    drop_all_but(kept, say)


def _reload(outputs: Outputs, reloader: Reloader, notifier: Notifier) -> None:
    notifier.reloading()
    outputs.reopen()
    reloader.reload()
    notifier.ready()


def _replace(services: dict[int, str], given: Iterable[tuple[int, str]] | None) -> None:
    services.clear()
    services.update(given or ())
