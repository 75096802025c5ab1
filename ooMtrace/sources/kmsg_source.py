# SPDX-License-Identifier: Apache-2.0
"""Kills as the kernel log tells of them, as they happen: for hosts where nothing can be probed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from ooMtrace.kernel.snapshot import Now, now, rfc3339
from ooMtrace.kmsg.device import KernelLog
from ooMtrace.kmsg.formats import kmsg
from ooMtrace.kmsg.report import Report
from ooMtrace.kmsg.scanner import Scanner
from ooMtrace.kmsg.to_record import Origin, compose
from ooMtrace.record import Host, OomKill
from ooMtrace.sources.base import Arrivals

QUIET_NS = 250_000_000
"""A report is over when its last kill is so long ago: between the members of a group lies one line on the console."""


class Logged:
    """A source: the kernel log from now on. Unlike the probes it wakes up for each line that the kernel prints.

    Args:
        log: Open, at its end; closed with this.
        host: The machine.
        patience: How many times as long as usual a line waits.
        clock: Tells the time.
    """

    def __init__(self, log: KernelLog, host: Host, patience: float = 1.0, clock: Callable[[], Now] = now) -> None:
        self._clock = clock
        self._log = log
        self._host = host
        self._quiet = int(QUIET_NS * patience)
        self._scanner = Scanner(kmsg)
        self._reports: list[Report] = []
        self._killed = 0
        self._last = 0
        self._gaps = 0
        self.close = log.close

    def fds(self) -> list[int]:
        """Return the log's file descriptor."""
        return [self._log.fd]

    def next_due(self) -> int | None:
        """Return when the present report will be over; None if there is none."""
        waits = self._reports or any(report.kills for report in self._scanner.heard())
        return self._last + self._quiet if waits else None

    def kills(self, arrivals: Arrivals) -> Iterator[OomKill]:
        """Yield the kills of all reports that are over."""
        self._read()
        moment = self._clock()  # not before: nothing is seen before it was
        if self._last + self._quiet <= moment.monotonic:
            self._reports += self._scanner.settle()
        for report in self._scanner.heard():  # told later, but not missing until then
            _note(report, arrivals)
        yield from self._told(moment, arrivals)

    def rest(self, arrivals: Arrivals) -> Iterator[OomKill]:
        """Yield all kills so far."""
        self._read()
        self._reports += self._scanner.rest()
        yield from self._told(self._clock(), arrivals)

    def counted(self) -> int:
        """Return how many kills the log has told of since it was opened."""
        self._read()
        return self._scanner.killed

    def take_lost(self) -> int:
        """Return how often the log was overwritten before it was read."""
        gaps, self._gaps = self._log.gaps - self._gaps, self._log.gaps
        return gaps

    def _read(self) -> None:
        for record in self._log.records():
            self._reports += self._scanner.scan(record)
        self._reports += self._scanner.flush()
        if self._scanner.killed != self._killed:
            self._killed, self._last = self._scanner.killed, time.monotonic_ns()

    def _told(self, moment: Now, arrivals: Arrivals) -> Iterator[OomKill]:
        reports, self._reports = self._reports, []
        origin = Origin(
            observed=rfc3339(moment.realtime),
            host=self._host,
            booted=moment.realtime - moment.monotonic,
            counted=arrivals.base,
        )
        for report in reports:
            _note(report, arrivals)
            yield from compose(report, origin)


def _note(report: Report, arrivals: Arrivals) -> None:
    """Note the kills of a report that the kernel counts."""
    for nth in report.again:
        arrivals.arrived(nth, None)
    for killed in report.kills:
        if killed.line.nth:
            arrivals.arrived(killed.line.nth, killed.number)
