# SPDX-License-Identifier: Apache-2.0
"""The way of the data, in one place: probe -> decode -> assemble -> enrich."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from ooMtrace.assemble import Assembler
from ooMtrace.enrich import Enricher
from ooMtrace.enrich.host import host
from ooMtrace.enrich.process import process
from ooMtrace.enrich.user import user_name
from ooMtrace.errors import DecodeError
from ooMtrace.kernel.features import Features
from ooMtrace.kernel.now import now
from ooMtrace.kernel.plan import Plan
from ooMtrace.probe.decode import decode
from ooMtrace.probe.loader import Probe
from ooMtrace.record import OomKill, missing
from ooMtrace.sighting import Ranking, Sighting

ENRICHERS: tuple[Enricher, ...] = (process(), user_name())


class Tracer:
    """Kills as they happen, from construction to `close`.

    Args:
        plan: What to attach.
        features: The kernel that the plan was made for.
        warn: Takes one line about something that went wrong without being the end.
        dying: Whether processes that were already dying are reported, too.

    Raises:
        CannotTraceError: BCC is not there.
        ProbeError: The kernel refused.
    """

    def __init__(self, plan: Plan, features: Features, warn: Callable[[str], None], *, dying: bool = False) -> None:
        self._probe = Probe(plan, features.release)
        self._assembler = Assembler(host(), features.symbols, plan.level, dying=dying)  # type: ignore[arg-type]
        self._warn = warn
        self._seq = 0
        self._dropped = 0

    def close(self) -> None:
        """Detach the probes."""
        self._probe.close()

    def fds(self) -> list[int]:
        """Return the file descriptors that become readable when something dies."""
        return self._probe.fds()

    def timeout_ms(self) -> int | None:
        """Return how long to wait at most before `kills` has something; None: for ever."""
        due = self._assembler.next_due()
        return None if due is None else max(0, -(-(due - time.monotonic_ns()) // 1_000_000))

    def kills(self) -> Iterator[OomKill]:
        """Yield what has arrived, without waiting."""
        moment = now()
        records = self._probe.read()
        if records:  # what was written to one CPU's buffer before may have been passed over
            records += self._probe.read()
        self._dropped += self._probe.take_lost()
        for seen in sorted(self._decoded(records), key=lambda seen: seen.ktime):
            yield from self._finished(self._assembler.add(seen, moment))
        yield from self._finished(self._assembler.due(moment.monotonic))

    def rest(self) -> Iterator[OomKill]:
        """Yield all that has arrived and all that still waits: nothing more will come."""
        yield from self.kills()
        yield from self._finished(self._assembler.due(1 << 63))

    def _decoded(self, records: Iterable[bytes]) -> Iterator[Sighting | Ranking]:
        for record in records:
            try:
                yield decode(record)
            except DecodeError as error:
                self._dropped += 1
                self._warn(str(error))

    def _finished(self, kills: Iterable[OomKill]) -> Iterator[OomKill]:
        for kill in kills:
            for enrich in ENRICHERS:
                kill = enrich(kill)  # noqa: PLW2901 (the chain is the point)
            self._seq += 1
            dropped, self._dropped = self._dropped or None, 0
            yield replace(kill, seq=self._seq, missing=tuple(missing(kill)), dropped_before=dropped)
