# SPDX-License-Identifier: Apache-2.0
"""Dates in logs: some lack a year or a zone, and some are in other languages. Pure."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

from ooMtrace.kmsg.months import MONTHS

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
YEARS_BACK = 9
"""29 February may be up to eight years back."""

MAX_DISORDER_NS = 60_000_000_000
"""By which a log's lines may be out of their order."""

DIGITS = re.compile(r"[0-9]+")
NUMBERED = re.compile(r"([0-9]{1,2})\s?[月월]\Z")
"""Chinese, Japanese and Korean."""


def month(name: str) -> int | None:
    """Return the number of a month; None if its language is unknown."""
    number = MONTHS.get(name.rstrip(".").lower())
    found = NUMBERED.match(name) if number is None else None
    return int(found[1]) if found else number


class Dates:
    """Converts dates.

    Args:
        latest: No line is later; dates without a year get one from it, and dates without a zone have that zone's
            rules (zoneinfo) or fixed offset.
    """

    def __init__(self, latest: datetime) -> None:
        self._latest = latest
        self._end = _since_epoch(latest)
        self._last_local = 0
        self._last_key: tuple[str | None, ...] = ()
        self._last_wall: int | None = None

    def yearless(self, month_name: str, day: str, clock: str, part: str = "", zone: str | None = None) -> int | None:
        """Use the latest year that does not make it a future time; lines come in bursts within a second."""
        key = (month_name, day, clock, part, zone)
        if key != self._last_key:
            self._last_key, self._last_wall = key, self._latest_year(*key)
        return self._last_wall

    def _latest_year(self, month_name: str, day: str, clock: str, part: str, zone: str | None) -> int | None:
        for year in range(self._latest.year, self._latest.year - YEARS_BACK, -1):
            wall = self.local(year, month_name, day, clock, part, zone)
            if wall is not None and wall <= self._end:
                return wall
        return None

    def local(
        self, year: int, month_name: str, day: str, clock: str, part: str = "", zone: str | None = None
    ) -> int | None:
        """Return nanoseconds since the epoch; None if there is no such day, or the month is in an unknown language."""
        number = int(month_name) if DIGITS.fullmatch(month_name) else month(month_name)
        return None if number is None else self.iso(f"{year:04}-{number:02}-{int(day):02}T{clock}", part, zone)

    def iso(self, text: str, part: str | None, zone: str | None) -> int | None:
        """Convert a date of ISO 8601 or with slashes; `part` is the fraction of the second."""
        offset = (zone or "").replace("Z", "+00:00")
        offset = offset if ":" in offset or not offset else f"{offset[:3]}:{offset[3:]}"
        return self._instant(text.replace(" ", "T").replace("_", "T").replace("/", "-") + offset, part or "")

    def _instant(self, text: str, part: str) -> int | None:
        try:
            moment = datetime.fromisoformat(text)
            if moment.tzinfo is None:
                return self._since_epoch_locally(moment) + int(part.ljust(9, "0"))
            return _since_epoch(moment) + int(part.ljust(9, "0"))
        except (ValueError, OverflowError):  # no such day
            return None

    def _since_epoch_locally(self, moment: datetime) -> int:
        """Use the zone's offset at that date; in the hour that is repeated, the one that is not before the last line.

        Without a line that shows that the second hour has begun, it is the first.
        """
        first = _since_epoch(moment.replace(tzinfo=self._latest.tzinfo))
        second = _since_epoch(moment.replace(tzinfo=self._latest.tzinfo, fold=1))
        last, self._last_local = self._last_local, first
        if first < last <= second + MAX_DISORDER_NS and last - first > MAX_DISORDER_NS:
            self._last_local = second
        return self._last_local


def _since_epoch(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1) * 1000


def nanoseconds(seconds: str | None) -> int | None:
    """Convert decimal seconds with milliseconds or microseconds."""
    found = re.fullmatch(r"([0-9]{1,12})\.([0-9]{3}|[0-9]{6}|[0-9]{9})", seconds or "")
    return int(found[1]) * 1_000_000_000 + int(found[2].ljust(9, "0")) if found else None
