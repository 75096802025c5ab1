# SPDX-License-Identifier: Apache-2.0
"""Attach at the highest level that works on this host."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace

from ooMtrace.enrich.chain import backfill_enrichers, enrichers
from ooMtrace.enrich.sigkill import sigkill_enricher
from ooMtrace.errors import CannotTraceError, ProbeError
from ooMtrace.kernel.checks import pid_namespace_problem
from ooMtrace.kernel.features import Features, observe
from ooMtrace.kernel.plan import Plan, plan
from ooMtrace.probe.captured_output import LIMITS
from ooMtrace.probe.image_cache import ImageCache, open_cache
from ooMtrace.reconcile.checkpoint import Checkpoint
from ooMtrace.reconcile.reconciler import Reconciler
from ooMtrace.runtime.host import read_host
from ooMtrace.runtime.pipeline import Tracer
from ooMtrace.runtime.sigkills import Sigkills
from ooMtrace.settings import LEVELS, Settings
from ooMtrace.sources.open import open_source
from ooMtrace.sources.sigkill_source import sigkill_source

SPARE_FDS = 4
"""Two for signals; the others for the kernel's counter and log, the ready file and the checkpoint in turn."""

Say = Callable[[str], None]
"""Takes one line for the operator."""


@contextmanager
def attached(
    settings: Settings, say: Say, *, verbose: bool = False, since: Checkpoint | None = None
) -> Iterator[Tracer]:
    """Trace at the highest level that works, and say which one that is.

    Args:
        settings: What to trace.
        say: Takes messages.
        verbose: Whether a refusal is followed by the compiler's and the verifier's log.
        since: Checkpoint of an earlier run.

    Raises:
        CannotTraceError: No level can be reached, or none as high as required.
    """
    tracer = _attach(settings, say, verbose=verbose, since=since)
    try:
        yield tracer
    finally:
        tracer.close()


def _attach(settings: Settings, say: Say, *, verbose: bool, since: Checkpoint | None) -> Tracer:
    _check_spare_fds("tracing")
    cache = open_cache(say)
    with closing(cache) if cache else nullcontext():
        return _attach_highest(settings, say, cache, verbose=verbose, since=since)


def _attach_highest(
    settings: Settings, say: Say, cache: ImageCache | None, *, verbose: bool, since: Checkpoint | None
) -> Tracer:
    """The kernel decides: what looked possible may be refused, and then the next lower level is tried."""
    features = observe(store=cache)
    if features.proc and (problem := pid_namespace_problem(features)):
        say(f"the pid namespace is {'; '.join(problem)}")
    while True:
        chosen = plan(features, settings)
        try:
            tracer = _open_tracer(chosen, features, say, settings, since, cache)
        except CannotTraceError as error:  # without BCC
            features = replace(features, bcc_error=error.fact, bcc_hint=error.hint)
        except ProbeError as error:
            for line in error.detail.splitlines() if verbose else ():
                say(line)
            if chosen.level in (LEVELS[0], settings.require):
                raise CannotTraceError(error.fact, error.hint) from error
            say(str(error))
            settings = replace(settings, level=LEVELS[LEVELS.index(chosen.level) - 1])
        else:
            say(_started(chosen))
            if chosen.level == LEVELS[0] and (settings.memory_killers or settings.sigkill not in (None, "none")):
                say(f"level {chosen.level} has no probes: SIGKILLs from user space are not reported (--sigkill)")
            return tracer


def _open_tracer(
    chosen: Plan, features: Features, say: Say, settings: Settings, since: Checkpoint | None, cache: ImageCache | None
) -> Tracer:
    host = read_host()
    source = open_source(chosen, features, host, say, settings, cache)
    try:
        _check_spare_fds(f"level {chosen.level}")
    except CannotTraceError as error:
        source.close()
        raise ProbeError(error.fact, error.hint) from error
    steps = enrichers(settings, host_pids=features.host_pids)
    sigkills = sigkill_source(source, chosen, host, say)
    return Tracer(
        source,
        Reconciler(source.kill_count, host, chosen.level, since),
        steps,
        backfill_enrichers(),
        sigkills=Sigkills(sigkills, sigkill_enricher(steps, host_pids=features.host_pids)) if sigkills else None,
    )


def _check_spare_fds(what: str) -> None:
    """Raise CannotTraceError if what comes after attaching could not open its files, some of it only after a kill."""
    opened: list[int] = []
    try:
        while len(opened) < SPARE_FDS:
            opened.append(os.dup(2))
    except OSError as error:
        raise CannotTraceError(f"{what}: {error.strerror}", LIMITS) from error
    finally:
        for fd in opened:
            os.close(fd)


def _started(chosen: Plan) -> str:
    reasons = "; ".join(dict.fromkeys(f"{obstacle.fact}: {obstacle.hint}" for obstacle in chosen.obstacles))
    return f"tracing at level {chosen.level}{f' ({reasons})' if reasons else ''}; Ctrl-C ends"
