# SPDX-License-Identifier: Apache-2.0
"""Times as people type them: absolute or relative."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from datetime import datetime, timedelta, timezone

RELATIVE = re.compile(r"(?P<number>[0-9]{1,6})(?P<unit>[smhdw])")
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
ABSOLUTE = re.compile(
    r"(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[T ](?P<time>[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?) ?(?P<zone>Z|[+-][0-9]{2}:[0-9]{2})?)?",
    re.IGNORECASE,
)
MICROSECOND_DIGITS = 6


def parse_moment(text: str, now: datetime | None = None) -> datetime:
    """Parse a time that an option names; a date without a time is its midnight, without a zone it is local.

    Args:
        text: RFC 3339, `YYYY-MM-DD[ HH:MM[:SS]]`, or that long ago: `90s`, `30m`, `2h`, `3d`, `1w`.
        now: The present time with its zone; None: read the clock.

    Returns:
        The time in UTC.

    Raises:
        ArgumentTypeError: It is none of them.
    """
    try:
        return _parse(text.strip(), now or datetime.now(timezone.utc)).astimezone(timezone.utc)
    except (ValueError, OverflowError) as error:
        raise ArgumentTypeError(f"{text!r} is not a time, such as '2026-03-05 10:00', 2h or 3d") from error


def _parse(text: str, now: datetime) -> datetime:
    if found := RELATIVE.fullmatch(text):
        return now - timedelta(**{UNITS[found["unit"]]: int(found["number"])})
    found = ABSOLUTE.fullmatch(text)
    if not found:
        raise ValueError(text)
    seconds, _, fraction = (found["time"] or "00:00").partition(".")
    moment = datetime.fromisoformat(f"{found['date']}T{seconds}{_zone(found['zone'])}")
    return moment + timedelta(microseconds=int(fraction[:MICROSECOND_DIGITS].ljust(MICROSECOND_DIGITS, "0")))


def _zone(zone: str | None) -> str:
    return (zone or "").upper().replace("Z", "+00:00")
