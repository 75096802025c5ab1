# SPDX-License-Identifier: Apache-2.0
"""From what is attached to the source of kills that reads it."""

from __future__ import annotations

from collections.abc import Callable

from ooMtrace.assemble.assembler import Assembler
from ooMtrace.kernel.features import Features
from ooMtrace.kmsg.device import KernelLog
from ooMtrace.probe.loader import Probe
from ooMtrace.record import Host
from ooMtrace.settings import Level, Settings
from ooMtrace.sources.base import Source
from ooMtrace.sources.probe_source import ProbeSource


def open_source(
    attached: Probe | KernelLog,
    level: Level,
    features: Features,
    host: Host,
    warn: Callable[[str], None],
    settings: Settings,
) -> Source:
    """Return a source that reads what is attached; closing it detaches that."""
    if isinstance(attached, KernelLog):
        from ooMtrace.sources.kmsg_source import KmsgSource  # late: the parser of kernel logs takes 6 MiB

        return KmsgSource(attached, host, settings.timeout_factor)
    assembler = Assembler(
        host,
        features.symbols,
        level,
        all=settings.all,
        lifecycle=settings.lifecycle,
        env=settings.env,
        timeout_factor=settings.timeout_factor,
    )
    return ProbeSource(attached, assembler, warn)
