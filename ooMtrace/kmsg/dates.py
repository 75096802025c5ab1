# SPDX-License-Identifier: Apache-2.0
"""Dates in logs: some lack a year or a zone, and some are in other languages. Pure."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
YEARS_BACK = 9
"""29 February may be up to eight years back."""

MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "jan janv ene gen sty led янв januar january janvier enero gennaio styczeń leden tammi oca",
            "feb févr fév fev lut úno фев febr février febrero febbraio fevereiro luty februar february helmi şub",
            "mar mär mrz mars mrt mars marzo março marca мар märz march maalis bře",
            "apr avr abr kwi dub апр avril abril aprile april huhti nis",
            "may mai mei maj mag kvě май мая maggio mayo maio touko",
            "jun juin giu cze čvn июн juni junio giugno june kesä haz",
            "jul juil lug lip čvc июл juli julio luglio july heinä tem",
            "aug aoû août ago sie srp авг elo ağu august agosto",
            "sep sept set wrz zář сен september septembre syys eyl",
            "oct okt ott paź říj окт out ekim eki oktober october octobre loka",
            "nov lis ноя november novembre marras kas",
            "dec dez déc dic gru pro дек ara december dezember décembre joulu des",
        ),
        1,
    )
    for name in names.split()
}
"""Abbreviated and full names of months in the locales of glibc that use Latin or Cyrillic letters."""

NUMBERED = re.compile(r"(\d{1,2})\s?[月월]\Z")
"""Chinese, Japanese and Korean."""


def month(name: str) -> int | None:
    """Return the number of a month; None if its language is unknown."""
    number = MONTHS.get(name.rstrip(".").lower())
    found = NUMBERED.match(name) if number is None else None
    return int(found[1]) if found else number


class Dates:
    """Converts dates.

    Args:
        latest: No line is later; dates without a year get one from it, and dates without a zone its zone.
    """

    def __init__(self, latest: datetime) -> None:
        self._latest = latest
        self._end = _since_epoch(latest)
        self._last_key: tuple[str, ...] = ()
        self._last_wall: int | None = None

    def yearless(self, month_name: str, day: str, clock: str, part: str = "") -> int | None:
        """Use the latest year that does not make it a future time; lines come in bursts within a second."""
        key = (month_name, day, clock, part)
        if key != self._last_key:
            self._last_key, self._last_wall = key, self._latest_year(*key)
        return self._last_wall

    def _latest_year(self, month_name: str, day: str, clock: str, part: str) -> int | None:
        for year in range(self._latest.year, self._latest.year - YEARS_BACK, -1):
            wall = self.local(year, month_name, day, clock, part)
            if wall is not None and wall <= self._end:
                return wall
        return None

    def local(self, year: int, month_name: str, day: str, clock: str, part: str = "") -> int | None:
        """Return nanoseconds since the epoch; None if there is no such day, or the month is in an unknown language."""
        number = int(month_name) if month_name.isdigit() else month(month_name)
        return None if number is None else self._instant(f"{year:04}-{number:02}-{int(day):02}T{clock}", part)

    def iso(self, text: str, part: str | None, zone: str | None) -> int | None:
        """Convert a date of ISO 8601 or with slashes; `part` is the fraction of the second."""
        offset = (zone or "").replace("Z", "+00:00")
        offset = offset if ":" in offset or not offset else f"{offset[:3]}:{offset[3:]}"
        return self._instant(text.replace(" ", "T").replace("/", "-") + offset, part or "")

    def _instant(self, text: str, part: str) -> int | None:
        try:
            moment = datetime.fromisoformat(text)
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=self._latest.tzinfo)
            return _since_epoch(moment) + int(part.ljust(9, "0"))
        except (ValueError, OverflowError):  # no such day
            return None


def _since_epoch(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1) * 1000


def nanoseconds(seconds: str | None) -> int | None:
    """Convert decimal seconds with milliseconds or microseconds."""
    found = re.fullmatch(r"(\d{1,12})\.(\d{3}|\d{6}|\d{9})", seconds or "")
    return int(found[1]) * 1_000_000_000 + int(found[2].ljust(9, "0")) if found else None
