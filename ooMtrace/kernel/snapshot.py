# SPDX-License-Identifier: Apache-2.0
"""Clocks, page size and memory size of the host at one moment: what converts the kernel's numbers."""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from pathlib import Path

NUMBER_LIST = re.compile(r"[0-9]{1,9}(?:-[0-9]{1,9})?(?:,[0-9]{1,9}(?:-[0-9]{1,9})?)*\n?")
"""Such as `0-1,4` (bitmap_print_to_pagebuf() in the kernel)."""

SIZES_NS = 100_000_000
"""How long the sizes of RAM and swap are not read again."""

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True, slots=True)
class HostSnapshot:
    """The host at one moment.

    Attributes:
        realtime: CLOCK_REALTIME, nanoseconds.
        monotonic: CLOCK_MONOTONIC, nanoseconds.
        boottime: CLOCK_BOOTTIME, nanoseconds.
        page_size: In bytes.
        ram: MemTotal, in pages.
        swap: SwapTotal, in pages.
        swappiness: vm.swappiness.
        nodes: Number of NUMA nodes that have memory.
    """

    realtime: int
    monotonic: int
    boottime: int
    page_size: int
    ram: int | None
    swap: int | None
    swappiness: int | None
    nodes: int | None

    def from_monotonic(self, ktime: int) -> str:
        """Convert a CLOCK_MONOTONIC time in nanoseconds to RFC 3339."""
        return rfc3339(self.realtime - (self.monotonic - ktime))

    def from_boottime(self, ktime: int) -> str:
        """Convert a CLOCK_BOOTTIME time in nanoseconds to RFC 3339."""
        return rfc3339(self.realtime - (self.boottime - ktime))


def rfc3339(realtime: int) -> str:
    """Format nanoseconds since the epoch as RFC 3339 UTC with microseconds."""
    moment = EPOCH + timedelta(microseconds=realtime // 1000)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def take_snapshot(proc: Path = Path("/proc"), sys: Path = Path("/sys")) -> HostSnapshot:
    """Read the clocks and the sizes of RAM and swap; not once at start, for swap may be added and removed.

    In a storm the sizes are those of up to SIZES_NS ago.
    """
    realtime, monotonic, boottime = _clocks()
    sizes = _sizes(proc, sys, monotonic // SIZES_NS)
    return HostSnapshot(realtime, monotonic, boottime, *sizes)


@lru_cache(1)
def _sizes(proc: Path, sys: Path, _moment: int) -> tuple[int, int | None, int | None, int | None, int | None]:
    """Read page size, RAM, swap, swappiness and nodes as in a HostSnapshot; once for each moment."""
    meminfo = _read(proc / "meminfo")
    page_size = os.sysconf("SC_PAGE_SIZE")
    swappiness = _read(proc / "sys/vm/swappiness").strip()
    return (
        page_size,
        _pages(meminfo, "MemTotal", page_size),
        _pages(meminfo, "SwapTotal", page_size),
        int(swappiness) if re.fullmatch("[0-9]{1,9}", swappiness) else None,
        _count(_read(sys / "devices/system/node/has_memory")),
    )


def _clocks() -> tuple[int, int, int]:
    """Read the three clocks at nearly one moment: of five attempts the shortest, for any may be interrupted."""
    attempts = []
    for _ in range(5):
        before = time.monotonic_ns()
        realtime, boottime = time.time_ns(), time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        after = time.monotonic_ns()
        attempts.append((after - before, realtime, (before + after) // 2, boottime))
    return min(attempts)[1:]


def _count(numbers: str) -> int | None:
    """Count the numbers of a list such as `0-1,4`."""
    if not NUMBER_LIST.fullmatch(numbers):
        return None
    ranges = [part.split("-") for part in numbers.split(",")]
    return sum(int(ends[-1]) - int(ends[0]) + 1 for ends in ranges) or None


def _pages(meminfo: str, name: str, page_size: int) -> int | None:
    found = re.search(rf"^{name}:\s*([0-9]{{1,18}}) kB$", meminfo, re.MULTILINE)
    return int(found[1]) * 1024 // page_size if found else None


def _read(path: Path) -> str:
    try:
        return path.read_text("ascii", "replace")
    except OSError:  # a restricted /proc: the facts that depend on it are missing
        return ""
