# SPDX-License-Identifier: Apache-2.0
"""The kernel log of this boot, aligned with the kernel's own count: one record for each kill that it counts.

OOMs without a kill are not counted, and have records beside these.
"""

from __future__ import annotations

import mmap
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from heapq import merge
from pathlib import Path

from ooMtrace.kernel.clock import Clock
from ooMtrace.kernel.kill_counter import read_kill_count
from ooMtrace.kernel.snapshot import rfc3339, take_snapshot
from ooMtrace.kmsg.device import KMSG, KernelLog
from ooMtrace.kmsg.formats import kmsg
from ooMtrace.kmsg.scanner import Scanner
from ooMtrace.kmsg.to_record import Origin, to_records
from ooMtrace.record import Host, OomKill, OomNoKill

ATTEMPTS = 50
"""Kills may go on while the log is read: count and log match only if neither changed meanwhile."""

PRINT_DELAY_S = 0.001
"""The kernel counts a kill a few microseconds before it prints it: __oom_kill_process()."""


@dataclass(frozen=True, slots=True)
class BootLog:
    """What the log still has.

    Attributes:
        before: How many kills the kernel had counted before the first one here.
        kills: Those that the kernel counts, each with its ordinal.
        repeat_kills: Ordinals of kills of a process that had been killed before.
        no_kills: OOMs without a kill, which the kernel does not count.
    """

    before: int
    kills: tuple[OomKill, ...]
    repeat_kills: frozenset[int]
    no_kills: tuple[OomNoKill, ...] = ()

    def records(self) -> Iterator[OomKill | OomNoKill]:
        """Yield both, by their time."""
        return merge(self.kills, self.no_kills, key=lambda found: found.time or "")


def read_boot_log(
    host: Host,
    proc: Path = Path("/proc"),
    kmsg: Path = KMSG,
    *,
    known: tuple[int, int | None] = (0, None),
    clock: Clock = time,
) -> BootLog | None:
    """Read the kernel log and number its kills.

    Args:
        host: The machine.
        proc: Where the kernel's counter is.
        kmsg: Where its log is.
        known: The ordinal of a kill, and the id of the thread that was killed.
        clock: Sleeps.

    Returns:
        None if the kernel does not count kills, the log cannot be read, or one of them changed during every attempt.
    """
    for _ in range(ATTEMPTS):
        kill_count = read_kill_count(proc)
        if kill_count is None:
            return None
        clock.sleep(PRINT_DELAY_S)
        try:
            with closing(KernelLog(kmsg)) as log:
                records = list(log.records())
        except OSError:
            return None
        if kill_count == read_kill_count(proc) and not log.gaps:
            origin, (ordinal, tid) = _origin(host), known
            found = parse_boot_log(records, origin, kill_count)
            if tid is not None and (ordinal + 1, tid) in ((kill.oom.number, kill.process.tid) for kill in found.kills):
                # A kernel that is preemptible may interrupt the OOM killer for seconds before it prints. It holds
                # oom_lock, so that one kill at most is counted and not printed.
                return parse_boot_log(records, origin, kill_count - 1)
            return found
    return None


def _origin(host: Host) -> Origin:
    snapshot = take_snapshot()  # after the log was read: `observed` is never before `time`
    return Origin(rfc3339(snapshot.realtime), host, snapshot.realtime - snapshot.monotonic, page=mmap.PAGESIZE)


def parse_boot_log(records: Iterable[bytes], origin: Origin, kill_count: int) -> BootLog:
    """Parse all records of /dev/kmsg; the last kill there is the last one that the kernel has counted."""
    scanner = Scanner(kmsg)
    reports = [report for record in records for report in scanner.scan(record)]
    reports += scanner.drain()
    before = kill_count - scanner.kill_count
    numbered = replace(origin, kill_count_before=before)
    logged = [found for report in reports for found in to_records(report, numbered)]
    kills = [found for found in logged if isinstance(found, OomKill) and found.oom.number is not None]
    return BootLog(
        before=before,
        kills=tuple(sorted(kills, key=lambda kill: kill.oom.number or 0)),
        no_kills=tuple(found for found in logged if isinstance(found, OomNoKill)),
        repeat_kills=frozenset(before + nth for report in reports for nth in report.repeat_kills),
    )
