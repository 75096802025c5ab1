# SPDX-License-Identifier: Apache-2.0
"""The kernel log of this boot, joined with the kernel's own count: one record for each kill that it counts."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from ooMtrace.kernel.kill_counter import read_kill_count
from ooMtrace.kernel.snapshot import rfc3339, take_snapshot
from ooMtrace.kmsg.device import KMSG, KernelLog
from ooMtrace.kmsg.formats import kmsg
from ooMtrace.kmsg.scanner import Scanner
from ooMtrace.kmsg.to_record import Origin, to_records
from ooMtrace.record import Host, OomKill

ATTEMPTS = 50
"""Kills go on while the log is read: count and log belong together only if neither changed meanwhile."""


@dataclass(frozen=True, slots=True)
class BootLog:
    """What the log still has.

    Attributes:
        before: How many kills were counted before the first one here.
        kills: Those that the kernel counts, each with its ordinal.
        repeat_kills: Ordinals of kills of a process that was killed before.
    """

    before: int
    kills: tuple[OomKill, ...]
    repeat_kills: frozenset[int]


def read_boot_log(host: Host, proc: Path = Path("/proc"), kmsg: Path = KMSG) -> BootLog | None:
    """Read the kernel log and number its kills.

    Returns:
        None if the kernel does not count, or the log cannot be read, or both have changed during every attempt.
    """
    snapshot = take_snapshot()
    origin = Origin(rfc3339(snapshot.realtime), host, snapshot.realtime - snapshot.monotonic)
    for _ in range(ATTEMPTS):
        kill_count = read_kill_count(proc)
        if kill_count is None:
            return None
        try:
            with closing(KernelLog(kmsg)) as log:
                records = list(log.records())
        except OSError:
            return None
        if kill_count == read_kill_count(proc) and not log.gaps:
            return parse_boot_log(records, origin, kill_count)
    return None


def parse_boot_log(records: Iterable[bytes], origin: Origin, kill_count: int) -> BootLog:
    """Parse all records of /dev/kmsg; the last kill there is the last one that the kernel has counted."""
    scanner = Scanner(kmsg)
    reports = [report for record in records for report in scanner.scan(record)]
    reports += scanner.drain()
    before = kill_count - scanner.kill_count
    numbered = replace(origin, kill_count_before=before)
    kills = (kill for report in reports for kill in to_records(report, numbered) if kill.oom.number is not None)
    return BootLog(
        before=before,
        kills=tuple(sorted(kills, key=lambda kill: kill.oom.number or 0)),
        repeat_kills=frozenset(before + nth for report in reports for nth in report.repeat_kills),
    )
