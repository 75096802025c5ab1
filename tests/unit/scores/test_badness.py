# SPDX-License-Identifier: Apache-2.0
"""Badness and oom_score, by the kernel's formulas and their integer division."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ooMtrace.scores.badness import Usage, oom_score, points, sparing_adj

TOTAL = 6291456
"""Pages of 4 KiB: 24 GiB."""


def usage(memory: int = 0, adj: int = 0, *, is_exempt: bool = False) -> Usage:
    return Usage(rss=memory, swap=0, page_tables=0, adj=adj, is_exempt=is_exempt)


@pytest.mark.parametrize(
    ("memory", "adj", "expected"),
    [(0, 0, 666), (393216, 0, 708), (393216, 300, 908), (393216, 900, 1308), (0, -999, 1), (0, 1000, 1332)],
)
def test_oom_score_is_that_of_the_kernel(memory, adj, expected):
    assert oom_score(usage(memory, adj), TOTAL) == expected


def test_the_parts_add_up():
    process = Usage(rss=100, swap=20, page_tables=3, adj=-5)

    assert points(process, 10_999) == 100 + 20 + 3 - 5 * 10


@pytest.mark.parametrize("process", [usage(10, -1000), usage(10, 1000, is_exempt=True)])
def test_what_cannot_be_chosen_has_no_points(process):
    assert points(process, TOTAL) is None
    assert oom_score(process, TOTAL) == 0


@settings(deadline=None)
@given(st.integers(0, 1 << 24), st.integers(-999, 1000), st.integers(-(1 << 24), 1 << 24), st.integers(1000, 1 << 24))
def test_the_sparing_adjustment_is_the_highest_one(memory, adj, other, total):
    spared = sparing_adj(usage(memory, adj), other, total)

    possible = [one for one in range(-999, 1001) if (points(usage(memory, one), total) or 0) < other]
    assert spared == (max(possible) if possible else None)


def test_in_a_tiny_domain_no_adjustment_spares():
    assert sparing_adj(usage(10), 5, 999) is None
