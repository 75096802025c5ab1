# SPDX-License-Identifier: Apache-2.0
"""Kills as the probes see them: probe -> decode -> assemble."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from ooMtrace.assemble.assembler import Assembler
from ooMtrace.errors import DecodeError
from ooMtrace.events import Again, Kind, Piece, Record, Sighting
from ooMtrace.kernel.snapshot import now
from ooMtrace.probe.decode import decode
from ooMtrace.probe.loader import Probe
from ooMtrace.record import OomKill
from ooMtrace.sources.base import Arrivals


class Traced:
    """A source: the probes, attached, and what is made of their records.

    Args:
        probe: Attached; closed with this.
        assembler: Fresh.
        warn: Takes one line about something that went wrong without being the end.
    """

    def __init__(self, probe: Probe, assembler: Assembler, warn: Callable[[str], None]) -> None:
        self._probe = probe
        self._assembler = assembler
        self._warn = warn
        self._lost = 0
        self.fds = probe.fds
        self.next_due = assembler.next_due
        self.counted = probe.counted
        self.close = probe.close

    def kills(self, arrivals: Arrivals) -> Iterator[OomKill]:
        """Yield what is ready, without waiting."""
        records = self._probe.read()
        if records:  # what was written to one CPU's buffer before may have been passed over
            records += self._probe.read()
        moment = now()  # not before: nothing is seen before it was
        for seen in sorted(self._decoded(records), key=lambda seen: seen.ktime):
            if isinstance(seen, Again):
                arrivals.arrived(seen.counted, None)
            else:
                yield from self._assembler.add(_numbered(seen, arrivals), moment)
        yield from self._assembler.due(moment.monotonic)

    def rest(self, arrivals: Arrivals) -> Iterator[OomKill]:
        """Yield all that has arrived and all that still waits."""
        yield from self.kills(arrivals)
        yield from self._assembler.due(1 << 63)

    def take_lost(self) -> int:
        """Return how many records were lost since the last call."""
        lost, self._lost = self._lost + self._probe.take_lost(), 0
        return lost

    def _decoded(self, records: Iterable[bytes]) -> Iterator[Record]:
        for record in records:
            try:
                yield decode(record)
            except DecodeError as error:
                self._lost += 1
                self._warn(str(error))


def _numbered(seen: Piece, arrivals: Arrivals) -> Piece:
    """Note a kill's arrival, and turn its number since the start into the kernel's."""
    if not isinstance(seen, Sighting) or seen.counted is None:
        return seen
    if seen.kind is Kind.KILLED:
        arrivals.arrived(seen.counted, seen.victim.task.tid)
    return replace(seen, counted=None if arrivals.base is None else arrivals.base + seen.counted)
