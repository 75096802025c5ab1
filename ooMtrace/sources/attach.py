# SPDX-License-Identifier: Apache-2.0
"""From a plan to what it attaches. Nothing is imported here that only lines need: kills are counted from here on."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING

from ooMtrace.errors import ProbeError
from ooMtrace.kernel.plan import Plan
from ooMtrace.probe.captured_output import LIMITS
from ooMtrace.probe.image_cache import ImageCache
from ooMtrace.probe.loader import Probe

if TYPE_CHECKING:
    from ooMtrace.kmsg.device import KernelLog


def attach(plan: Plan, release: str, cache: ImageCache | None, warn: Callable[[str], None]) -> Probe | KernelLog:
    """Attach the probes, with programs from the cache if it has them; at level `log` open the kernel log at its end.

    Args:
        plan: What to attach.
        release: The kernel's `uname -r`.
        cache: Holds compiled programs; None: compile.
        warn: Takes one line about what can no longer be traced.

    Raises:
        CannotTraceError: BCC is not there.
        ProbeError: The kernel refused.
    """
    if plan.level != "log":
        return Probe(plan, release, cache, warn=warn)
    from ooMtrace.kmsg.device import KMSG, KernelLog

    try:
        return KernelLog(at_end=True)
    except OSError as error:
        hint = LIMITS if error.errno in (errno.EMFILE, errno.ENFILE) else "see `oomtrace doctor`"
        raise ProbeError(f"{KMSG}: {error.strerror}", hint) from error
