# SPDX-License-Identifier: Apache-2.0
"""The kernel log of this boot, joined with the kernel's own count: one line for each kill that it counts. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from ooMtrace.kmsg.formats import kmsg
from ooMtrace.kmsg.scanner import Scanner
from ooMtrace.kmsg.to_record import Origin, compose
from ooMtrace.record import OomKill


@dataclass(frozen=True, slots=True)
class History:
    """What the log still has.

    Attributes:
        before: How many kills were counted before the first one here.
        kills: Those that the kernel counts, each with its number.
        again: Numbers of those that came to a victim a second time.
    """

    before: int
    kills: tuple[OomKill, ...]
    again: frozenset[int]


def history(records: Iterable[bytes], origin: Origin, counted: int) -> History:
    """Read all records of /dev/kmsg; the last kill there is the last one `counted`."""
    scanner = Scanner(kmsg)
    reports = [report for record in records for report in scanner.scan(record)]
    reports += scanner.rest()
    before = counted - scanner.killed
    numbered = replace(origin, counted=before)
    kills = (kill for report in reports for kill in compose(report, numbered) if kill.oom.number is not None)
    return History(
        before=before,
        kills=tuple(sorted(kills, key=lambda kill: kill.oom.number or 0)),
        again=frozenset(before + nth for report in reports for nth in report.again),
    )
