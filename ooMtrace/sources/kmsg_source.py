# SPDX-License-Identifier: Apache-2.0
"""Kills as the kernel log tells of them, as they happen: for hosts where nothing can be probed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from ooMtrace.kernel.snapshot import HostSnapshot, rfc3339, take_snapshot
from ooMtrace.kmsg.device import KernelLog
from ooMtrace.kmsg.formats import kmsg
from ooMtrace.kmsg.report import Report
from ooMtrace.kmsg.scanner import Scanner
from ooMtrace.kmsg.to_record import Origin, to_records
from ooMtrace.record import Host, OomKill
from ooMtrace.sources.base import DeliveryLog

QUIET_NS = 250_000_000
"""A report is over when its last kill is so long ago: between the members of a group lies one line on the console."""


class KmsgSource:
    """A source: the kernel log from now on. Unlike the probes it wakes up for each line that the kernel prints.

    Args:
        log: Open, at its end; closed with this.
        host: The machine.
        timeout_factor: How many times as long as usual a line waits.
        clock: Tells the time.
    """

    def __init__(
        self, log: KernelLog, host: Host, timeout_factor: float = 1.0, clock: Callable[[], HostSnapshot] = take_snapshot
    ) -> None:
        self._clock = clock
        self._log = log
        self._host = host
        self._quiet = int(QUIET_NS * timeout_factor)
        self._scanner = Scanner(kmsg)
        self._reports: list[Report] = []
        self._killed = 0
        self._last = 0

    def fds(self) -> list[int]:
        """Return the log's file descriptor."""
        return [self._log.fd]

    def next_due(self) -> int | None:
        """Return when the present report will be over; None if there is none."""
        waits = self._reports or any(report.kills for report in self._scanner.open_reports())
        return self._last + self._quiet if waits else None

    def kills(self, delivery_log: DeliveryLog) -> Iterator[OomKill]:
        """Yield the kills of all reports that are over."""
        self._read()
        moment = self._clock()  # not before: nothing is seen before it was
        if self._last + self._quiet <= moment.monotonic:
            self._reports += self._scanner.close_completed(self._scanner.kill_count)
        for report in self._scanner.open_reports():  # told later, but not missing until then
            _note(report, delivery_log)
        yield from self._told(moment, delivery_log)

    def drain(self, delivery_log: DeliveryLog) -> Iterator[OomKill]:
        """Yield all kills so far."""
        self._read()
        self._reports += self._scanner.drain()
        yield from self._told(self._clock(), delivery_log)

    def kill_count(self) -> int:
        """Return how many kills the log has told of since it was opened."""
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
            self._reports += self._scanner.scan(record)
        self._reports += self._scanner.flush()
        if self._scanner.kill_count != self._killed:
            self._killed, self._last = self._scanner.kill_count, time.monotonic_ns()

    def _told(self, moment: HostSnapshot, delivery_log: DeliveryLog) -> Iterator[OomKill]:
        reports, self._reports = self._reports, []
        origin = Origin(
            observed=rfc3339(moment.realtime),
            host=self._host,
            booted=moment.realtime - moment.monotonic,
            kill_count_before=delivery_log.base,
        )
        for report in reports:
            _note(report, delivery_log)
            yield from to_records(report, origin)


def _note(report: Report, delivery_log: DeliveryLog) -> None:
    """Note the kills of a report that the kernel counts."""
    for nth in report.repeat_kills:
        delivery_log.record_delivery(nth, None)
    for killed in report.kills:
        if killed.line.nth:
            delivery_log.record_delivery(killed.line.nth, killed.pid)
