# SPDX-License-Identifier: Apache-2.0
"""Sizes, counts, shares and durations as text. Pure."""

from __future__ import annotations

from datetime import timedelta

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
SECOND, MINUTE, HOUR, DAY = 1, 60, 3600, 86400
UNITS = ((DAY, "d", HOUR, "h"), (HOUR, "h", MINUTE, "min"), (MINUTE, "min", SECOND, "s"))
"""Of periods of a minute or longer, each with the one below it."""

MICROS = 1_000_000
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
    """Return a period that is not negative, rounded down, in its largest unit and the one below it."""
    micros = period // timedelta(microseconds=1)
    if micros < MICROS:
        return f"{micros // 1000} ms" if micros >= 1000 else f"{micros} us"  # noqa: PLR2004
    whole = micros // MICROS
    if whole < MINUTE:
        return f"{micros * 10 // MICROS / 10:.1f} s"
    unit, name, below, name_below = next(row for row in UNITS if whole >= row[0])
    rest = whole % unit // below
    return f"{whole // unit:,} {name} {rest} {name_below}" if rest else f"{whole // unit:,} {name}"
