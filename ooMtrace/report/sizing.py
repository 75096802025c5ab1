# SPDX-License-Identifier: Apache-2.0
"""From kills at a limit to a suggested limit, and the reason for it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from ooMtrace.explain.amounts import MIB, plural, size
from ooMtrace.report.tallies import Hits, Limit

HEADROOM = 5, 4
"""The suggestion exceeds the largest known use by a quarter: the next step, for the real need is not known."""

STEPS = 8
"""A suggestion is a multiple of an eighth of the power of two below it, and of 1 MiB."""

LEAK = "leak"


@dataclass(frozen=True, slots=True)
class Sizing:
    """A limit and its use.

    Attributes:
        limit: Bytes, at the last kill.
        use: The most bytes that were charged at that limit, swap included; None if not known.
        suggested: Bytes; None: another limit would not help, or is not known.
        evidence: Why, in sentences.
    """

    limit: int
    use: int | None
    suggested: int | None
    evidence: str


def sizing(limit: Limit) -> Sizing:
    """Suggest a limit from the kills at it."""
    newest = limit.by_value.get(limit.newest, Hits())
    if limit.newest == 0:
        return Sizing(0, newest.use, None, "The limit is 0: nothing can run there.")
    evidence = [_kills(limit, newest)]
    if others := sorted(value for value in limit.by_value if value != limit.newest):
        evidence.append(f"Also killed at {', '.join(map(size, others[-3:]))}{' and less' if len(others) > 3 else ''}.")  # noqa: PLR2004
    leaks = limit.rules[LEAK]
    if leaks * 2 > limit.kills:
        evidence.append(
            f"{plural(leaks, 'victim')} of {limit.kills:,} grew for an hour or longer: a leak fills any limit."
        )
        return Sizing(limit.newest, newest.use, None, " ".join(evidence))
    need = max(max(value, hits.use or 0) for value, hits in limit.by_value.items())
    evidence.append(f"It needs more than {size(need)}.")
    return Sizing(limit.newest, newest.use, rounded_up(need * HEADROOM[0] // HEADROOM[1]), " ".join(evidence))


def _kills(limit: Limit, newest: Hits) -> str:
    if newest.use is None:
        return f"{plural(newest.kills, 'kill')} at {size(limit.newest)}; its use is not known."
    swap = f", {size(newest.swap)} of it in swap" if newest.swap else ""
    return f"{plural(newest.kills, 'kill')} at {size(limit.newest)}, with up to {size(newest.use)} in use{swap}."


def rounded_up(amount: int) -> int:
    """Return the next round size: a multiple of 1 MiB, and of an eighth of the power of two that is not above it."""
    step = max(MIB, (1 << max(0, amount.bit_length() - 1)) // STEPS)
    return -(-amount // step) * step
