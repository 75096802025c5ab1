# SPDX-License-Identifier: Apache-2.0
"""From what is attached to a tracer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from ooMtrace.enrich.chain import backfill_enrichers, enrichers
from ooMtrace.enrich.sigkill import sigkill_enricher
from ooMtrace.reconcile.checkpoint import Checkpoint
from ooMtrace.reconcile.reconciler import Reconciler
from ooMtrace.runtime.attach import Attachment, Say, attach_highest
from ooMtrace.runtime.host import read_host
from ooMtrace.runtime.pipeline import Tracer
from ooMtrace.runtime.sigkills import Sigkills
from ooMtrace.settings import Settings
from ooMtrace.sources.open import open_source
from ooMtrace.sources.sigkill_source import sigkill_source


def open_tracer(attachment: Attachment, say: Say, since: Checkpoint | None = None) -> Tracer:
    """Return a tracer that reads what is attached; closing it detaches that.

    Args:
        attachment: What is attached.
        say: Takes messages.
        since: Checkpoint of an earlier run.
    """
    chosen, features, settings = attachment.plan, attachment.features, attachment.settings
    host = read_host()
    source = open_source(attachment.handle, chosen.level, features, host, say, settings)
    steps = enrichers(settings, host_pids=features.host_pids)
    sigkills = sigkill_source(source, chosen, host, say)
    return Tracer(
        source,
        Reconciler(source.kill_count, host, chosen.level, since),
        steps,
        backfill_enrichers(),
        sigkills=Sigkills(sigkills, sigkill_enricher(steps, host_pids=features.host_pids)) if sigkills else None,
    )


@contextmanager
def attached(settings: Settings, say: Say, *, verbose: bool = False) -> Iterator[Tracer]:
    """Trace at the highest level that works, and say which one that is.

    Raises:
        CannotTraceError: No level can be reached, or none as high as required.
    """
    with (
        closing(attach_highest(settings, say, verbose=verbose)) as attachment,
        closing(open_tracer(attachment, say)) as tracer,
    ):
        yield tracer
