# SPDX-License-Identifier: Apache-2.0
"""From a plan to the source that it names."""

from __future__ import annotations

import errno
from collections.abc import Callable

from ooMtrace.assemble.assembler import Assembler
from ooMtrace.errors import ProbeError
from ooMtrace.kernel.features import Features
from ooMtrace.kernel.plan import Plan
from ooMtrace.kmsg.device import KMSG, KernelLog
from ooMtrace.probe.captured_output import LIMITS
from ooMtrace.probe.image_cache import ImageCache
from ooMtrace.probe.loader import Probe
from ooMtrace.record import Host
from ooMtrace.settings import Settings
from ooMtrace.sources.base import Source
from ooMtrace.sources.kmsg_source import KmsgSource
from ooMtrace.sources.probe_source import ProbeSource


def open_source(
    plan: Plan,
    features: Features,
    host: Host,
    warn: Callable[[str], None],
    settings: Settings,
    cache: ImageCache | None = None,
) -> Source:
    """Attach what the plan says, with programs from the cache if it has them.

    Raises:
        CannotTraceError: BCC is not there.
        ProbeError: The kernel refused.
    """
    if plan.level == "log":
        try:
            return KmsgSource(KernelLog(at_end=True), host, settings.timeout_factor)
        except OSError as error:
            hint = LIMITS if error.errno in (errno.EMFILE, errno.ENFILE) else "see `oomtrace doctor`"
            raise ProbeError(f"{KMSG}: {error.strerror}", hint) from error
    assembler = Assembler(
        host,
        features.symbols,
        plan.level,
        all=settings.all,
        lifecycle=settings.lifecycle,
        env=settings.env,
        timeout_factor=settings.timeout_factor,
    )
    return ProbeSource(Probe(plan, features.release, cache), assembler, warn)
