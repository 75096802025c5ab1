# SPDX-License-Identifier: Apache-2.0
"""Sizes, counts, shares and durations as text. Pure."""

from __future__ import annotations

from datetime import timedelta

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
SECOND, MINUTE, HOUR, DAY = 1.0, 60.0, 3600.0, 86400.0
TENTH_OF_MIB = MIB // 10
LARGE = 10 * GIB


def size(amount: int) -> str:
    """Return bytes in MiB with one decimal; in GiB from 10 GiB on, and in KiB below 0.1 MiB."""
    if amount >= LARGE:
        return f"{amount / GIB:,.1f} GiB"
    if amount >= TENTH_OF_MIB:
        return f"{amount / MIB:,.1f} MiB"
    return f"{amount // KIB} KiB" if amount % KIB == 0 and amount else plural(amount, "byte")


def count(amount: int) -> str:
    """Return a number with commas between thousands."""
    return f"{amount:,}"


def plural(amount: int, noun: str, nouns: str = "") -> str:
    """Return a number and the noun in its singular or plural."""
    return f"{amount:,} {noun if amount == 1 else nouns or noun + 's'}"


def times(amount: int) -> str:
    """Return how often something happened."""
    return "once" if amount == 1 else f"{amount:,} times"


def percent(part: int, whole: int) -> int:
    """Return a part's share of a whole that contains it, 0 to 100, rounded down."""
    return max(0, min(100, part * 100 // whole)) if whole > 0 else 0


def duration(period: timedelta) -> str:
    """Return a period that is not negative, in its largest unit and the one below it."""
    seconds = period.total_seconds()
    if seconds < SECOND:
        return f"{seconds * 1000:.0f} ms" if seconds >= 0.001 else f"{seconds * 1e6:.0f} us"  # noqa: PLR2004
    if seconds < MINUTE:
        return f"{int(seconds * 10) / 10:.1f} s"
    whole = int(seconds)
    for unit, below, names in ((MINUTE, 1, ("min", "s")), (HOUR, 60, ("h", "min")), (DAY, 3600, ("d", "h"))):
        if seconds < unit * (24 if unit == HOUR else 60) or unit == DAY:
            major, rest = divmod(whole, int(unit))
            return f"{major:,} {names[0]} {rest // below} {names[1]}" if rest // below else f"{major:,} {names[0]}"
    raise AssertionError
