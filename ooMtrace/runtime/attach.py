# SPDX-License-Identifier: Apache-2.0
"""Attach at the highest level that works on this host, before anything is loaded that only lines need."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ooMtrace.errors import CannotTraceError, ProbeError
from ooMtrace.kernel.checks import pid_namespace_problem
from ooMtrace.kernel.features import Features, observe
from ooMtrace.kernel.plan import Plan, plan
from ooMtrace.probe.captured_output import LIMITS
from ooMtrace.probe.image_cache import ImageCache, open_cache
from ooMtrace.probe.loader import Probe
from ooMtrace.settings import LEVELS, Level, Settings
from ooMtrace.sources.attach import attach

if TYPE_CHECKING:
    from ooMtrace.kmsg.device import KernelLog

SPARE_FDS = 4
"""Two for signals; the others for the kernel's counter and log, the ready file and the checkpoint in turn."""

Say = Callable[[str], None]
"""Takes one line for the operator."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """What is attached, until `close`. Its buffers keep what happens until they are read.

    Attributes:
        handle: The probes, or the kernel log.
        plan: What was attached.
        features: What the kernel offers.
        settings: With the level that was reached.
    """

    handle: Probe | KernelLog
    plan: Plan
    features: Features
    settings: Settings

    @property
    def level(self) -> Level:
        """The level that was reached."""
        return self.plan.level

    def close(self) -> None:
        """Detach; a second call does nothing."""
        self.handle.close()


def attach_highest(settings: Settings, say: Say, *, verbose: bool = False) -> Attachment:
    """Attach at the highest level that works, and say which one that is.

    Args:
        settings: What to trace.
        say: Takes messages.
        verbose: Whether a refusal is followed by the compiler's and the verifier's log.

    Raises:
        CannotTraceError: No level can be reached, or none as high as required.
    """
    _check_spare_fds("tracing")
    cache = open_cache(say)
    with closing(cache) if cache else nullcontext():
        return _attach_highest(settings, say, cache, verbose=verbose)


def _attach_highest(settings: Settings, say: Say, cache: ImageCache | None, *, verbose: bool) -> Attachment:
    """The kernel decides: what looked possible may be refused, and then the next lower level is tried."""
    features = observe(store=cache)
    if features.proc and (problem := pid_namespace_problem(features)):
        say(f"the pid namespace is {'; '.join(problem)}")
    while True:
        chosen = plan(features, settings)
        try:
            handle = _attach(chosen, features, cache, say)
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
            return Attachment(handle, chosen, features, settings)


def _attach(chosen: Plan, features: Features, cache: ImageCache | None, say: Say) -> Probe | KernelLog:
    handle = attach(chosen, features.release, cache, say)
    try:
        _check_spare_fds(f"level {chosen.level}")
    except CannotTraceError as error:
        handle.close()
        raise ProbeError(error.fact, error.hint) from error
    return handle


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
