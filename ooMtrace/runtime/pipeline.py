# SPDX-License-Identifier: Apache-2.0
"""The data's way in one place: source -> enrich, with the reconciler beside it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from ooMtrace.enrich import Enricher
from ooMtrace.reconcile.checkpoint import Checkpoint
from ooMtrace.reconcile.reconciler import Reconciler
from ooMtrace.record import OomKill, Record, missing_facts
from ooMtrace.sources.base import Source


class Tracer:
    """Complete records of kills as they happen, until `close`.

    Args:
        source: Open; closed with this.
        reconciler: Counts what the source delivers.
        enrichers: Applied in this order to what the source delivers.
        backfill_enrichers: The same for what the reconciler reads from the kernel log.
    """

    def __init__(
        self,
        source: Source,
        reconciler: Reconciler,
        enrichers: Iterable[Enricher] = (),
        backfill_enrichers: Iterable[Enricher] = (),
    ) -> None:
        self._source = source
        self._reconciler = reconciler
        self._enrichers = tuple(enrichers)
        self._backfill_enrichers = tuple(backfill_enrichers)

    def fds(self) -> list[int]:
        """Return the file descriptors that become readable when something dies."""
        return self._source.fds()

    def next_due(self) -> int | None:
        """Return when `records` has something at the latest (CLOCK_MONOTONIC ns); None: not before the next event."""
        return self._source.next_due()

    def reconcile_due(self) -> int | None:
        """Return when to call `reconcile` (CLOCK_MONOTONIC ns); None while nothing dies."""
        return self._reconciler.next_due()

    def records(self) -> Iterator[Record]:
        """Yield what has arrived, without waiting."""
        yield from _enriched(self._source.kills(self._reconciler), self._enrichers)

    def drain(self) -> Iterator[Record]:
        """Yield all that has arrived and all that still waits: nothing more will come."""
        yield from _enriched(self._source.drain(self._reconciler), self._enrichers)

    def catch_up(self) -> Iterator[Record]:
        """Yield the kills since the checkpoint of an earlier run."""
        yield from _enriched(self._reconciler.catch_up(), self._backfill_enrichers)

    def reconcile(self, *, final: bool = False) -> Iterator[Record]:
        """Yield what has arrived, then compare with the kernel's counter: what is backfilled, and what is lost.

        A difference may wait for a pause between kills, but not at the `final` check.
        """
        reading = self._reconciler.read_counters()  # first: what is counted by then is taken from the source
        yield from self.drain() if final else self.records()
        yield from _enriched(self._reconciler.reconcile(reading, final=final), self._backfill_enrichers)

    def mark_dropped(self, record: Record) -> None:
        """Note that the output had no room for a record: its kill is pending again."""
        self._reconciler.mark_dropped(record)

    def lost_records(self) -> int:
        """Return how many records were lost between the kernel and us since the start."""
        return self._source.lost_records()

    def checkpoint(self) -> Checkpoint | None:
        """Return up to where every kill has been delivered; None if that cannot be said now."""
        return self._reconciler.checkpoint() if self._source.next_due() is None else None

    def close(self) -> None:
        """Detach."""
        self._source.close()


def _enriched(records: Iterable[Record], enrichers: tuple[Enricher, ...]) -> Iterator[Record]:
    for record in records:
        yield _complete(record, enrichers) if isinstance(record, OomKill) else record


def _complete(kill: OomKill, enrichers: tuple[Enricher, ...]) -> OomKill:
    for enrich in enrichers:
        kill = enrich(kill)
    return replace(kill, missing=(*missing_facts(kill), *kill.missing))
