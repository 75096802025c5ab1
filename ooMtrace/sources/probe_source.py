# SPDX-License-Identifier: Apache-2.0
"""Kills as the probes see them: probe -> decode -> assemble."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace

from ooMtrace.assemble.assembler import Assembler
from ooMtrace.errors import DecodeError
from ooMtrace.events import Kind, LinePart, RepeatKill, VictimEvent
from ooMtrace.kernel.cgroup_change import CgroupChange
from ooMtrace.kernel.plan import CGROUP_CHANGES
from ooMtrace.kernel.snapshot import HostSnapshot, take_snapshot
from ooMtrace.probe.decode import decode, decode_cgroup_change
from ooMtrace.probe.loader import Probe
from ooMtrace.record import OomKill
from ooMtrace.sources.base import DeliveryLog
from ooMtrace.sources.decoding import Decoding

END_OF_TIME = 1 << 63


class ProbeSource:
    """A source: the attached probes, and an assembler for their events.

    Args:
        probe: Attached; closed with this.
        assembler: Fresh.
        warn: Takes one line about something that went wrong without being the end.
        take_snapshot: Returns the host's clocks and sizes.
    """

    def __init__(
        self,
        probe: Probe,
        assembler: Assembler,
        warn: Callable[[str], None],
        take_snapshot: Callable[[], HostSnapshot] = take_snapshot,
    ) -> None:
        self._probe = probe
        self._assembler = assembler
        self._decoding = Decoding(warn)
        self._take_snapshot = take_snapshot

    @property
    def probe(self) -> Probe:
        """The probe, whose other perf buffers have readers of their own."""
        return self._probe

    def fds(self) -> list[int]:
        """Return the file descriptors of the perf buffers."""
        return self._probe.fds()

    def next_due(self) -> int | None:
        """Return when a kill has waited long enough (CLOCK_MONOTONIC ns); None if none waits."""
        return self._assembler.next_due()

    def kills(self, delivery_log: DeliveryLog) -> Iterator[OomKill]:
        """Yield what is ready, without waiting."""
        records = self._probe.read()
        if not records and self._assembler.next_due() is None:
            return  # asked before each line: a snapshot of the host reads several files
        if records:  # what was written to one CPU's buffer before may have been passed over
            records += self._probe.read()
        snapshot = self._take_snapshot()  # after the last read: `observed` is never before `time`
        for event in sorted(self._decoding.events(records, decode), key=lambda event: event.ktime):
            if isinstance(event, RepeatKill):
                delivery_log.record_delivery(event.ordinal, None)
            else:
                yield from self._assembler.add(_with_ordinal(event, delivery_log), snapshot)
        yield from self._assembler.due(snapshot.monotonic)

    def drain(self, delivery_log: DeliveryLog) -> Iterator[OomKill]:
        """Yield all that has arrived and all that still waits."""
        yield from self.kills(delivery_log)
        yield from self._assembler.due(END_OF_TIME)

    def cgroup_changes(self) -> Iterator[CgroupChange]:
        """Yield the cgroups of containers that were made and removed, in that order, without waiting.

        What is lost of them is not counted: those names are read at the kill.
        """
        changes = []
        for record in self._probe.read(CGROUP_CHANGES):
            with suppress(DecodeError):
                changes.append(decode_cgroup_change(record))
        yield from sorted(changes, key=lambda change: change.ktime)

    def kill_count(self) -> int:
        """Return how many kills the kernel has counted since the probes were attached."""
        return self._probe.kill_count()

    def lost_records(self) -> int:
        """Return how many records found the buffer full, or could not be decoded."""
        return self._probe.lost_records() + self._decoding.failed

    def close(self) -> None:
        """Detach the probes."""
        self._probe.close()


def _with_ordinal(event: LinePart, delivery_log: DeliveryLog) -> LinePart:
    """Note the delivery of a kill, and turn its count since the start into the kernel's ordinal."""
    if not isinstance(event, VictimEvent) or event.ordinal is None:
        return event
    if event.kind is Kind.KILLED:
        delivery_log.record_delivery(event.ordinal, event.victim.task.tid)
    return replace(event, ordinal=None if delivery_log.base is None else delivery_log.base + event.ordinal)
