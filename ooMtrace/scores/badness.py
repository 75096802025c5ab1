# SPDX-License-Identifier: Apache-2.0
"""The kernel's own formulas: oom_badness() in mm/oom_kill.c and proc_oom_score() in fs/proc/base.c. Pure."""

from __future__ import annotations

from dataclasses import dataclass

MIN_ADJ, MAX_ADJ = -1000, 1000
UNITS = 1000
"""oom_score_adj is in thousandths of the domain's memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What badness counts of a process, in pages, and its adjustment.

    Attributes:
        is_exempt: Whether it is the init process of the host: the kernel never chooses it.
    """

    rss: int
    swap: int
    page_tables: int
    adj: int
    is_exempt: bool = False

    @property
    def memory(self) -> int:
        """Pages without the adjustment."""
        return self.rss + self.swap + self.page_tables

    @property
    def can_be_chosen(self) -> bool:
        """Whether the kernel may choose it at all."""
        return not self.is_exempt and self.adj != MIN_ADJ


def adj_points(adj: int, total_pages: int) -> int:
    """Return the pages that an oom_score_adj adds; the kernel divides first."""
    return adj * (total_pages // UNITS)


def points(usage: Usage, total_pages: int) -> int | None:
    """Return the badness in a domain of this size, in pages; None: it cannot be chosen."""
    return usage.memory + adj_points(usage.adj, total_pages) if usage.can_be_chosen else None


def oom_score(usage: Usage, total_pages: int) -> int:
    """Return what /proc/PID/oom_score shows since Linux 5.9 (and 5.4.144): always relative to RAM and swap.

    Args:
        usage: Of the process.
        total_pages: RAM and swap of the host.
    """
    badness = points(usage, total_pages)
    if badness is None or not total_pages:
        return 0
    return _truncated((UNITS + _truncated(badness * UNITS, total_pages)) * 2, 3)


def _truncated(dividend: int, divisor: int) -> int:
    """Divide as C does: towards zero."""
    quotient = abs(dividend) // divisor
    return quotient if dividend >= 0 else -quotient


def sparing_adj(usage: Usage, other: int, total_pages: int) -> int | None:
    """Return the highest oom_score_adj with which a process has fewer points than another one.

    Args:
        usage: Of the process.
        other: Points of the other process in the same domain.
        total_pages: Size of the domain.

    Returns:
        None if no value above -1000 is low enough, or one unit adds nothing in so small a domain.
    """
    unit = total_pages // UNITS
    if not unit:
        return None
    # the largest adj with memory + adj * unit < other
    adj = min(MAX_ADJ, (other - usage.memory - 1) // unit)
    return adj if adj > MIN_ADJ else None
