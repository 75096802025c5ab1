# SPDX-License-Identifier: Apache-2.0
"""SIGKILLs from user space as the probes see them: probe -> decode -> assemble."""

from __future__ import annotations

from collections.abc import Callable

from ooMtrace.assemble.sigkill import SigkillAssembler
from ooMtrace.kernel.plan import Plan
from ooMtrace.kernel.sigkill_macros import SIGKILLS
from ooMtrace.kernel.snapshot import HostSnapshot, take_snapshot
from ooMtrace.probe.decode import decode_sigkill
from ooMtrace.probe.loader import Probe
from ooMtrace.record import Host, Sigkill
from ooMtrace.sources.base import Source
from ooMtrace.sources.decoding import Decoding
from ooMtrace.sources.probe_source import ProbeSource


class SigkillSource:
    """Reads the perf buffer for SIGKILLs. What it loses are no OOM kills.

    Args:
        probe: Attached; the source of kills closes it.
        assembler: Fresh.
        warn: Takes one line about something that went wrong without being the end.
        take_snapshot: Returns the host's clocks and sizes.
    """

    def __init__(
        self,
        probe: Probe,
        assembler: SigkillAssembler,
        warn: Callable[[str], None],
        take_snapshot: Callable[[], HostSnapshot] = take_snapshot,
    ) -> None:
        self._probe = probe
        self._assembler = assembler
        self._decoding = Decoding(warn)
        self._take_snapshot = take_snapshot

    def sigkills(self) -> list[Sigkill]:
        """Return what has arrived, without waiting: as much as the buffers hold at most."""
        records = self._probe.read(SIGKILLS)
        events = self._decoding.events(records, decode_sigkill)
        return list(self._assembler.add(events, self._take_snapshot())) if records else []

    def lost(self) -> int:
        """Return how many SIGKILLs found the buffer full, or could not be decoded."""
        return self._probe.lost_records(SIGKILLS) + self._decoding.failed


def sigkill_source(source: Source, plan: Plan, host: Host, warn: Callable[[str], None]) -> SigkillSource | None:
    """Return where SIGKILLs come from; None if the plan reports none, or if the source of kills is no probe."""
    if SIGKILLS not in plan.auxiliary_buffers or not isinstance(source, ProbeSource):
        return None
    return SigkillSource(source.probe, SigkillAssembler(host, plan.level), warn)
