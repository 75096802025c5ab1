# SPDX-License-Identifier: Apache-2.0
"""The data's way in one place: source -> queue -> enrich, with the reconciler beside it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from ooMtrace.enrich import Enricher, Enrichers, enriched
from ooMtrace.kernel.clock import Clock
from ooMtrace.reconcile.checkpoint import Checkpoint
from ooMtrace.reconcile.reconciler import Reconciler
from ooMtrace.record import OomKill, OomNoKill, Record, Sigkill, missing_facts
from ooMtrace.runtime.background import Background
from ooMtrace.runtime.fair_queue import FairQueue, owner_of
from ooMtrace.runtime.sigkills import Sigkills
from ooMtrace.runtime.slow_facts import SlowFacts
from ooMtrace.settings import Level
from ooMtrace.sources.base import DeliveryLog, Source

QUEUE_BYTES = 32 << 20
"""Kills that wait for their turn, as `size_of` estimates them: some thousands."""

RECORD_BYTES = 8192
"""About what a record takes without the victim's texts and connections."""

KILLS_PER_TURN = 16
"""Lines between two looks at signals, at the output and at the clock."""

DRAIN_NS = 5_000_000_000
"""At the end, kills that happen meanwhile are taken from the source for so long."""


class Tracer:
    """Complete records of kills as they happen, until `close`.

    What the source has is taken from it before each line: kills wait here, where there is room for many and where
    nobody waits for somebody else's, and not in the kernel's buffers.

    Args:
        source: Open; closed with this.
        reconciler: Counts what the source delivers.
        enrichers: Applied to what the source delivers.
        backfill_enrichers: Applied in this order to what the reconciler reads from the kernel log.
        background: Runs the slow enrichers.
        clock: What times are measured with.
        queue_bytes: How much may wait; of the longest backlog the newest is dropped.
        sigkills: SIGKILLs from user space; None: they are not reported.
    """

    def __init__(
        self,
        source: Source,
        reconciler: Reconciler,
        enrichers: Enrichers = Enrichers(),  # noqa: B008 (it cannot be changed)
        backfill_enrichers: Iterable[Enricher] = (),
        *,
        background: Background | None = None,
        clock: Clock = time,
        queue_bytes: int = QUEUE_BYTES,
        sigkills: Sigkills | None = None,
    ) -> None:
        self._source = source
        self._reconciler = reconciler
        self._enrichers = enrichers
        self._backfill_enrichers = tuple(backfill_enrichers)
        self._queue: FairQueue[OomKill | OomNoKill] = FairQueue(queue_bytes)
        self._slow = SlowFacts(enrichers.slow, background or Background("slow-facts"), clock)
        self._clock = clock
        self._dropped = 0
        self.sigkills = sigkills

    @property
    def level(self) -> Level:
        """The level of the source."""
        return self._reconciler.level

    def fds(self) -> list[int]:
        """Return the file descriptors that become readable when something dies or a line may be complete."""
        return [*self._source.fds(), *self._slow.fds()]

    def next_due(self) -> int | None:
        """Return when `records` has something at the latest (CLOCK_MONOTONIC ns); None: not before the next event."""
        if self._queue or self.sigkills:
            return 0
        watcher = self._enrichers.watcher
        dues = (self._source.next_due(), self._slow.next_due(), watcher.next_due() if watcher else None)
        return min((due for due in dues if due is not None), default=None)

    def reconcile_due(self) -> int | None:
        """Return when to call `reconcile` (CLOCK_MONOTONIC ns); None while nothing dies."""
        return self._reconciler.next_due()

    def records(self) -> Iterator[Record]:
        """Yield some of what has arrived, without waiting; `next_due` is 0 if there is more."""
        self._receive_kills()
        self._watch_containers()
        yield from map(_finish, self._slow.ready(self._queue))
        for _ in range(KILLS_PER_TURN):
            if not self._queue:
                break
            yield from self._next()
            self._receive_kills()
        yield from map(_finish, self._slow.ready(self._queue))
        if self.sigkills is not None and not self._queue:
            yield from self.sigkills.next_lines()

    def drain(self) -> Iterator[Record]:
        """Yield all that has arrived and all that still waits: nothing more will come."""
        self._receive(self._source.drain)
        self._watch_containers()
        deadline = self._clock.monotonic_ns() + DRAIN_NS
        while self._queue:
            yield from self._next()
            if self._clock.monotonic_ns() < deadline:
                self._receive(self._source.drain)
        yield from map(_finish, self._slow.drain())
        if self.sigkills is not None:
            yield from self.sigkills.drain()

    def catch_up(self) -> Iterator[Record]:
        """Yield the kills since the checkpoint of an earlier run."""
        yield from self._backfilled(self._reconciler.catch_up(self._receive_kills))

    def reconcile(self, *, final: bool = False) -> Iterator[Record]:
        """Yield what has arrived, then compare with the kernel's counter: what is backfilled, and what is lost.

        A difference may wait for a pause between kills, but not at the `final` check.
        """
        reading = self._reconciler.read_counters()  # first: what is counted by then is taken from the source
        yield from self.drain() if final else self.records()
        yield from self._backfilled(self._reconciler.reconcile(reading, self._receive_kills, final=final))
        if final:
            yield from self.drain()

    def mark_dropped(self, record: Record) -> None:
        """Note that there was no room for a record: its kill is pending again."""
        if isinstance(record, Sigkill):
            if self.sigkills is not None:
                self.sigkills.mark_dropped()
            return
        self._reconciler.mark_dropped(record)

    def lost_records(self) -> int:
        """Return how many records were lost between the kernel and their line since the start."""
        return self._source.lost_records() + self._dropped

    def checkpoint(self) -> Checkpoint | None:
        """Return up to where every kill has been delivered; None if that cannot be said now."""
        waits = self._source.next_due() is not None or self._queue or self._slow
        return None if waits else self._reconciler.checkpoint()

    def close(self) -> None:
        """Detach."""
        self._source.close()
        self._slow.close()

    def _receive(self, kills: Callable[[DeliveryLog], Iterator[OomKill | OomNoKill]]) -> None:
        """Take what the source has, and read what will be gone once the victims have exited."""
        for delivered in kills(self._reconciler):
            event = delivered
            if isinstance(event, OomKill):
                event = enriched(event, self._enrichers.urgent)
                self._slow.prepare(event)
            for dropped in self._queue.push(event, owner_of(event), size_of(event)):
                if isinstance(dropped, OomKill):
                    self._slow.skip(dropped)
                self._dropped += 1
                self.mark_dropped(dropped)

    def _receive_kills(self) -> None:
        self._receive(self._source.kills)

    def _watch_containers(self) -> None:
        """Report the cgroups that were made and removed, before the kills that have just been received are enriched."""
        if watcher := self._enrichers.watcher:
            for change in self._source.cgroup_changes():
                watcher.observe(change)
            watcher.look_again()

    def _next(self) -> Iterator[Record]:
        """Enrich the kill whose turn it is; yield what is complete with that."""
        event = self._queue.pop()
        if isinstance(event, OomKill):
            yield from map(_finish, self._slow.offer(enriched(event, self._enrichers.later)))
        elif event is not None:
            yield event

    def _backfilled(self, records: Iterable[Record]) -> Iterator[Record]:
        for record in records:
            yield _finish(enriched(record, self._backfill_enrichers)) if isinstance(record, OomKill) else record
            self._receive_kills()


def size_of(event: OomKill | OomNoKill) -> int:
    """Return about how many bytes of memory a record takes."""
    if isinstance(event, OomNoKill):
        return RECORD_BYTES
    process = event.process
    texts = (*(process.command_args or ()), *(process.environment or {}).values(), process.title or "")
    return RECORD_BYTES + sum(64 + len(text) for text in texts) + 1024 * len(process.connections or ())


def _finish(kill: OomKill) -> OomKill:
    return replace(kill, missing=(*missing_facts(kill), *kill.missing))
