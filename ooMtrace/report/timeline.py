# SPDX-License-Identifier: Apache-2.0
"""Counts over time in bounded memory, whatever the period. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from itertools import accumulate

MINUTE, HOUR, DAY = 60, 3600, 86400
WIDTHS = (1, 10, MINUTE, 10 * MINUTE, HOUR, 6 * HOUR, DAY, 7 * DAY, 28 * DAY, 364 * DAY, 3640 * DAY, 36400 * DAY)
"""Seconds; each is a multiple of the one before it."""

MOST_BINS = 4096
MOST_BARS = 120
OUTLIERS = 50
"""One kill in so many may be left out of the chart if that makes its period much shorter: clocks may be wrong."""

MUCH = 10
ORIGIN = datetime(1969, 12, 29, tzinfo=timezone.utc)
"""A Monday: weeks begin with one."""

EARLIEST = datetime.min.replace(tzinfo=timezone.utc)


@dataclass(frozen=True, slots=True)
class Bar:
    """Kills in one stretch of time.

    Attributes:
        begin: Its beginning, UTC.
        counts: By series.
    """

    begin: datetime
    counts: tuple[int, ...]

    @property
    def total(self) -> int:
        """All kills in it."""
        return sum(self.counts)


@dataclass(frozen=True, slots=True)
class Bars:
    """A chart's data.

    Attributes:
        width: The length of each bar's stretch of time.
        bars: Without gaps, in order of time.
        outside: How many kills are before or after them.
    """

    width: timedelta
    bars: tuple[Bar, ...]
    outside: int


class Timeline:
    """Counts by time and series. Its bins become wider when there are too many: the order of kills is irrelevant."""

    def __init__(self) -> None:
        self._level = 0
        self._bins: dict[int, Counter[str]] = {}

    def add(self, time: datetime, series: str) -> None:
        """Count a kill."""
        key = (time - ORIGIN) // timedelta(seconds=WIDTHS[self._level])
        self._bins.setdefault(key, Counter())[series] += 1
        while len(self._bins) > MOST_BINS and self._level + 1 < len(WIDTHS):
            self._bins = _widened(self._bins, WIDTHS[self._level + 1] // WIDTHS[self._level])
            self._level += 1

    def bars(self, series: Sequence[str]) -> Bars:
        """Return at most MOST_BARS bars."""
        kept, outside = _without_outliers({key: sum(counts.values()) for key, counts in self._bins.items()})
        if not kept:
            return Bars(timedelta(), (), outside)
        level, bins = self._level, {key: self._bins[key] for key in kept}
        while max(bins) - min(bins) >= MOST_BARS and level + 1 < len(WIDTHS):
            bins = _widened(bins, WIDTHS[level + 1] // WIDTHS[level])
            level += 1
        width = timedelta(seconds=WIDTHS[level])
        none: Counter[str] = Counter()
        bars = tuple(
            Bar(_begin(key * width), tuple(bins.get(key, none)[name] for name in series))
            for key in range(min(bins), max(bins) + 1)
        )
        return Bars(width, bars, outside)


def _begin(since: timedelta) -> datetime:
    return EARLIEST if since < EARLIEST - ORIGIN else ORIGIN + since


def _widened(bins: dict[int, Counter[str]], factor: int) -> dict[int, Counter[str]]:
    wider: dict[int, Counter[str]] = {}
    for key, counts in bins.items():
        wider.setdefault(key // factor, Counter()).update(counts)
    return wider


def _without_outliers(totals: dict[int, int]) -> tuple[list[int], int]:
    """Return the bins without the few that make the period much longer, and how many kills are left out.

    Of the periods that are not much longer than the shortest it is the one that leaves out the fewest kills.
    """
    if not totals:
        return [], 0
    keys = sorted(totals)
    before = [0, *accumulate(totals[key] for key in keys)]
    total = before[-1]
    allowed = total // OUTLIERS
    firsts = [at for at in range(len(keys)) if before[at] <= allowed]
    shortest = min(keys[bisect_left(before, total - allowed + before[at]) - 1] - keys[at] for at in firsts)
    much = MUCH * max(1, shortest)
    ends = {at: bisect_left(keys, keys[at] + much) for at in firsts}
    first = min(firsts, key=lambda at: before[at] - before[ends[at]])
    return keys[first : ends[first]], before[first] + total - before[ends[first]]
