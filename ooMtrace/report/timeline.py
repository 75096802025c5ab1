# SPDX-License-Identifier: Apache-2.0
"""Counts over time in bounded memory, whatever the period. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

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
    """Return the bins without the few that make the period much longer, and how many kills are left out."""
    keys = sorted(totals)
    allowed = sum(totals.values()) // OUTLIERS
    first, last, outside = 0, len(keys) - 1, 0
    kept = [(first, last, outside)]
    while first < last:  # leave out at the end with the wider gap
        at_front = keys[first + 1] - keys[first] >= keys[last] - keys[last - 1]
        outside += totals[keys[first if at_front else last]]
        if outside > allowed:
            break
        first, last = (first + 1, last) if at_front else (first, last - 1)
        kept.append((first, last, outside))
    much = MUCH * max(1, keys[last] - keys[first]) if keys else 0
    # The one that leaves out the fewest, of those that are not much longer than the shortest.
    first, last, outside = next(one for one in kept if one is kept[-1] or keys[one[1]] - keys[one[0]] < much)
    return keys[first : last + 1], outside
