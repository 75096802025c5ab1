# SPDX-License-Identifier: Apache-2.0
"""Compares what was delivered with the kernel's count of kills, and backfills from the kernel log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from ooMtrace.kernel.clock import Clock
from ooMtrace.kernel.kill_counter import read_kill_count
from ooMtrace.kernel.snapshot import rfc3339
from ooMtrace.kmsg.device import KMSG
from ooMtrace.reconcile.checkpoint import Checkpoint
from ooMtrace.reconcile.ledger import Ledger
from ooMtrace.record import Host, Lost, OomKill, OomLost, Record
from ooMtrace.settings import Level

CHECK_INTERVAL_NS = 1_000_000_000
"""From one check to the next while kills go on."""

MAX_DEFERRED_CHECKS = 60
"""How many checks a difference may wait for a pause between kills: the kernel log is long, and nothing else is read
while it is."""

ATTEMPTS, RETRY_S = 50, 0.001
"""The kernel counts a kill a moment before the probes do: two equal readings in a row are believed."""

ATTEMPTS_IF_AHEAD = 25
"""So many equal readings in a row are needed to believe that more kills are missing than before. The OOM killer may
have been preempted between its count and the signal: a kernel with PREEMPT_RT does that on one CPU.
"""


class Phase(Enum):
    """Where the comparison with the kernel's count stands."""

    IDLE = "nothing has died since the last check"
    PENDING = "a check is due"
    DEFERRED = "kills are missing, the kernel log was searched once, and a pause between kills is awaited"


@dataclass(frozen=True, slots=True)
class CounterReading:
    """Both counters at one moment.

    Attributes:
        kernel: The kernel's count since boot.
        source: The source's own count since it began.
        steady: Whether nothing died between two readings, so that the difference of the two can be relied on.
    """

    kernel: int
    source: int
    steady: bool


class Reconciler:
    """Keeps account of the kills from the moment that the source is attached.

    Args:
        kill_count: Returns how many kills the source has counted since it began.
        host: The machine.
        level: The source's level; also an attribute.
        since: Checkpoint of an earlier run; kills since then are returned by `catch_up`.
        proc, kmsg: Where the kernel's counter and its log are.
        clock: Decides when a check is due.

    Attributes:
        level: The source's level.
        base: The kernel's count when the source began; None: this kernel does not count.
    """

    def __init__(
        self,
        kill_count: Callable[[], int],
        host: Host,
        level: Level,
        since: Checkpoint | None = None,
        *,
        proc: Path = Path("/proc"),
        kmsg: Path = KMSG,
        clock: Clock = time,
    ) -> None:
        self._kill_count = kill_count
        self._host = host
        self.level = level
        self._proc = proc
        self._kmsg = kmsg
        self._clock = clock
        self._phase = Phase.IDLE
        self._due = 0
        self._deferred_checks = 0
        self._last_kernel_count: int | None = None
        self.base: int | None = None
        first = self.read_counters()
        self.base = first.kernel - first.source if first else None
        self._ledger = Ledger(self.base or 0)
        self._since = self._now()
        if since is not None and self.base is not None:
            self._ledger = Ledger(min(since.ordinal_in(self._host.boot_id), self.base))
            self._since = min(since.time, self._since)  # the clock may have been set back

    def record_delivery(self, nth: int, tid: int | None) -> None:
        """Note that the source has delivered the nth kill since it began."""
        if self.base is not None:
            self._ledger.record_delivery(self.base + nth, tid)
            self._schedule()

    def mark_dropped(self, record: Record) -> None:
        """Note that the output has dropped a record: its kills are pending again."""
        if isinstance(record, OomLost):
            self._ledger.mark_dropped(None, record.lost.count)
        elif isinstance(record, OomKill) and record.event == "oom_kill" and record.oom.number is not None:
            self._ledger.mark_dropped(record.oom.number)
        self._schedule()

    def checkpoint(self) -> Checkpoint | None:
        """Return up to where every kill has been delivered; None if the kernel does not count."""
        if self.base is None or self._host.boot_id is None:
            return None
        return Checkpoint(self._host.boot_id, self._ledger.complete(), self._now())

    def next_due(self) -> int | None:
        """Return when to check next (CLOCK_MONOTONIC ns); None while nothing dies."""
        return None if self._phase is Phase.IDLE else self._due

    def read_counters(self) -> CounterReading | None:
        """Read both counters at one moment; None if the kernel does not count.

        What the source has delivered up to that moment is to be taken from it before `reconcile` is called.
        """
        reading, equal = None, 0
        for _ in range(ATTEMPTS):
            source, kernel = self._kill_count(), read_kill_count(self._proc)
            if kernel is None:
                return None
            equal = equal + 1 if reading and (reading.kernel, reading.source) == (kernel, source) else 1
            is_ahead = self.base is not None and kernel - source > self.base
            if equal >= (ATTEMPTS_IF_AHEAD if is_ahead else 2):
                return CounterReading(kernel, source, steady=True)
            reading = CounterReading(kernel, source, steady=False)
            self._clock.sleep(RETRY_S)
        return reading

    def reconcile(
        self, reading: CounterReading | None, receive: Callable[[], object], *, final: bool = False
    ) -> Iterator[Record]:
        """Compare; yield the kills backfilled from the kernel log, and what is lost. Without a reading: check later.

        The log is searched as soon as a kill is missing, for it is overwritten; and once more before kills are reported
        as lost, which waits for a pause between kills unless this is the final check.

        Args:
            reading: Of both counters; what the source had delivered by then has been received.
            receive: Receives what the source has delivered since: called when the log has been read.
            final: Whether no other check follows.
        """
        if reading is None:
            self._due = self._clock.monotonic_ns() + CHECK_INTERVAL_NS
            return
        pause = reading.kernel == self._last_kernel_count
        was_ahead = pause or self._phase is Phase.DEFERRED
        self._last_kernel_count = reading.kernel
        complete = not self._ledger.missing(reading.kernel)
        if complete or final or self._deferred_checks >= MAX_DEFERRED_CHECKS:
            self._enter(Phase.IDLE if pause else Phase.PENDING)
            yield from self._close(reading.kernel, receive)
        elif pause:
            self._enter(Phase.IDLE)
            yield from self._close(reading.kernel, receive, reading.source)
        elif self._phase is Phase.DEFERRED:
            self._enter(Phase.DEFERRED)
        else:
            self._enter(Phase.DEFERRED)
            yield from self._backfill(reading.kernel, receive, reading.source)
        if was_ahead or not self._ledger.missing(reading.kernel):
            self._move_base(reading)

    def _move_base(self, reading: CounterReading) -> None:
        """Kills that the probes have missed do not shift the ordinals of later ones."""
        if reading.steady and self._kill_count() == reading.source:
            self.base = reading.kernel - reading.source

    def catch_up(self, receive: Callable[[], object]) -> Iterator[Record]:
        """Yield what has died between the checkpoint of an earlier run and the start of this one."""
        if self.base is not None:
            yield from self._close(self.base, receive)

    def _schedule(self) -> None:
        if self._phase is Phase.IDLE:
            self._enter(Phase.PENDING)

    def _enter(self, phase: Phase) -> None:
        self._deferred_checks = self._deferred_checks + 1 if phase is Phase.DEFERRED else 0
        self._phase = phase
        self._due = self._clock.monotonic_ns() + CHECK_INTERVAL_NS

    def _close(self, until: int, receive: Callable[[], object], source: int | None = None) -> list[Record]:
        """Close the ledger; return what was backfilled and what is lost.

        It stays open if the source's count is no longer `source`: what was counted since may be what is missing.
        """
        records: list[Record] = [*self._backfill(until, receive, source)]
        if source is not None and self._kill_count() != source:
            self._enter(Phase.DEFERRED)
            return records
        now = self._now()
        if (count := self._ledger.missing(until)) > 0:
            records.append(self._lost(until, count, now))
        self._ledger.close(until)
        self._since = now
        return records

    def _backfill(self, until: int, receive: Callable[[], object], source: int | None) -> list[OomKill]:
        """Return the kills that only the kernel log has, and note them as delivered.

        Args:
            until: The kernel's count up to which kills are missing.
            receive: As of `reconcile`.
            source: The source's count at that moment; None: whatever it counts from now on is not waited for.
        """
        missing, closed = self._ledger.missing(until), self._ledger.closed
        if missing <= 0:
            return []
        from ooMtrace.kmsg.boot_log import read_boot_log  # late: most runs miss no kill, and the parser takes 6 MiB

        log = read_boot_log(self._host, self._proc, self._kmsg, known=(closed, self._ledger.closed_tid))
        if log is None:
            return []
        kills = [kill for kill in log.kills if closed < (kill.oom.number or 0) <= until]
        found = self._ledger.undelivered(kills, until, whole=log.before <= closed)[-missing:]
        if source is not None:
            # What the source has counted since is not missed; the others are, which does not shift its ordinals.
            missed = max(0, len(found) - (self._kill_count() - source))
            base = self.base or 0
            self.base = max(base, min(until - source, base + missed))
        # A kill is logged after its mark, so what the log has of the source's kills can be received by now. When the
        # counters were read it may have been between the two: waking up the threads of a victim takes long, and a
        # preemptible kernel may run something else for seconds.
        before = self._ledger.tids()
        receive()
        received = self._ledger.tids() - before
        found = [kill for kill in found if not received[kill.process.tid]]
        for ordinal in log.repeat_kills:
            if self._ledger.is_missing(ordinal) and ordinal <= until:
                self._ledger.record_delivery(ordinal, None)
        self._ledger.mark_backfilled(kill.process.tid for kill in found)
        return found

    def _lost(self, until: int, count: int, to: str) -> OomLost:
        kills = "1 kill" if count == 1 else f"{count} kills"
        return OomLost(
            id=f"{(self._host.boot_id or self._host.name or 'host')[:8]}-lost-{until}-{count}",
            observed=to,
            message=f"{kills} of the kernel's OOM killer between {self._since} and {to} could not be seen",
            fidelity=self.level,
            host=self._host,
            lost=Lost(count=count, from_=self._since, to=to),
        )

    def _now(self) -> str:
        return rfc3339(self._clock.time_ns())
