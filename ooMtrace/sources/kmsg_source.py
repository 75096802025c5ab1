# SPDX-License-Identifier: Apache-2.0
"""Kills as the kernel log reports them: for hosts where no probe can be attached."""

from __future__ import annotations

import mmap
import time
from collections import deque
from collections.abc import Callable, Iterator

from ooMtrace.kernel.cgroup_change import CgroupChange
from ooMtrace.kernel.clock import Clock
from ooMtrace.kernel.snapshot import HostSnapshot, rfc3339, take_snapshot
from ooMtrace.kmsg.device import KernelLog
from ooMtrace.kmsg.formats import kmsg
from ooMtrace.kmsg.report import Report
from ooMtrace.kmsg.scanner import Scanner
from ooMtrace.kmsg.to_record import Origin, to_records
from ooMtrace.record import Host, OomKill, OomNoKill
from ooMtrace.sources.base import DeliveryLog

REPORT_IDLE_NS = 250_000_000
"""A report is complete this long after its last kill: a slow console takes some time for each member of a group."""


class KmsgSource:
    """A source: the kernel log from now on. Unlike the probes it wakes up for every line that the kernel prints.

    Args:
        log: Opened at its end; closed with this source.
        host: The host.
        timeout_factor: Multiplies REPORT_IDLE_NS.
        take_snapshot: Returns the host's clocks; its monotonic time is that of `clock`.
        clock: Decides when a report is complete.
    """

    def __init__(
        self,
        log: KernelLog,
        host: Host,
        timeout_factor: float = 1.0,
        take_snapshot: Callable[[], HostSnapshot] = take_snapshot,
        clock: Clock = time,
    ) -> None:
        self._log = log
        self._host = host
        self._idle_ns = int(REPORT_IDLE_NS * timeout_factor)
        self._take_snapshot = take_snapshot
        self._clock = clock
        self._scanner = Scanner(kmsg)
        self._complete: list[Report] = []
        self._recent: deque[tuple[int, int]] = deque()
        """When kills were read, and how many there were then; the idle time of these is not over."""
        self._read_count = 0
        self._idle_count = 0
        self._recorded_count = 0

    def fds(self) -> list[int]:
        """Return the log's file descriptor."""
        return [self._log.fd]

    def next_due(self) -> int | None:
        """Return when the next report will be complete (CLOCK_MONOTONIC ns); None if nothing was read that waits."""
        if not self._complete and not any(report.kills for report in self._scanner.open_reports()):
            return None
        return self._recent[0][0] + self._idle_ns if self._recent else self._clock.monotonic_ns()

    def kills(self, delivery_log: DeliveryLog) -> Iterator[OomKill | OomNoKill]:
        """Yield the kills of all complete reports, and the OOMs that ended without a kill."""
        now = self._clock.monotonic_ns()  # before the log is read: all that was printed by then is considered
        self._read()
        self._complete += self._scanner.close_completed(self._count_idle(now))
        self._record_deliveries(delivery_log)
        yield from self._emit(delivery_log)

    def drain(self, delivery_log: DeliveryLog) -> Iterator[OomKill | OomNoKill]:
        """Yield all kills so far."""
        self._read()
        self._complete += self._scanner.drain()
        self._record_deliveries(delivery_log)
        yield from self._emit(delivery_log)

    def cgroup_changes(self) -> Iterator[CgroupChange]:
        """Yield nothing: the kernel log does not report them."""
        return iter(())

    def kill_count(self) -> int:
        """Return how many kills the log has reported since it was opened."""
        self._read()
        return self._scanner.kill_count

    def lost_records(self) -> int:
        """Return how often the log was overwritten before it was read."""
        return self._log.gaps

    def close(self) -> None:
        """Close the log."""
        self._log.close()

    def _read(self) -> None:
        for record in self._log.records():
            self._complete += self._scanner.scan(record)
        self._complete += self._scanner.flush()
        if self._scanner.kill_count > self._read_count:
            self._read_count = self._scanner.kill_count
            self._recent.append((self._clock.monotonic_ns(), self._read_count))

    def _count_idle(self, now: int) -> int:
        """Return how many of the log's kills are old enough for their reports to be complete."""
        while self._recent and self._recent[0][0] + self._idle_ns <= now:
            _, self._idle_count = self._recent.popleft()
        return self._idle_count

    def _record_deliveries(self, delivery_log: DeliveryLog) -> None:
        """Record each kill once, as soon as it was read, so that it is not missing while its report is open.

        Once, because the delivery log may correct its base: with another base the same kill would be another one.
        """
        recorded, self._recorded_count = self._recorded_count, self._read_count
        for report in (*self._complete, *self._scanner.open_reports()):
            for nth in report.repeat_kills:
                if nth > recorded:
                    delivery_log.record_delivery(nth, None)
            for killed in report.kills:
                if killed.line.nth > recorded:
                    delivery_log.record_delivery(killed.line.nth, killed.pid)

    def _emit(self, delivery_log: DeliveryLog) -> Iterator[OomKill | OomNoKill]:
        reports, self._complete = self._complete, []
        snapshot = self._take_snapshot()  # after the log was read: `observed` is never before `time`
        origin = Origin(
            observed=rfc3339(snapshot.realtime),
            host=self._host,
            booted=snapshot.realtime - snapshot.monotonic,
            kill_count_before=delivery_log.base,
            page=mmap.PAGESIZE,
        )
        for report in reports:
            yield from to_records(report, origin)
