# SPDX-License-Identifier: Apache-2.0
"""The points of a victim and the reading of the memory counters they are computed from."""

from __future__ import annotations

import pytest
from support.probe_events import NOW, decision, victim, victim_event

from ooMtrace.assemble.attribution import (
    UNKNOWN_RSS,
    kernel_total,
    points,
)
from ooMtrace.events import Rss
from ooMtrace.record import Points


@pytest.mark.parametrize(
    ("changes", "total"),
    [
        ({}, 2260),
        ({"chosen_points": (1 << 63) - 1}, None),
        ({"chosen_points": None}, None),
        ({"chosen_points": -5}, -5),
        ({"chosen_points": 0}, 0),
        ({"message": "Out of memory (oom_kill_allocating_task)"}, None),
        ({"message": None}, 2260),
        ({"chosen_pid": 99}, None),
        ({"chosen_pid": None}, None),
    ],
)
def test_chosen_points_are_the_total_only_if_the_kernel_computed_them(changes, total):
    assert kernel_total(victim_event(decision=decision(**changes))) == total


def test_without_a_decision_there_is_no_kernel_total():
    assert kernel_total(victim_event()) is None


PLAIN, SUMMED = Rss(file=200, anon=2000, swap=0, shmem=50), Rss(file=205, anon=2010, swap=1, shmem=50)


@pytest.mark.parametrize(
    ("total", "expected", "rss"),
    [
        (2260, Points(total=2260, rss=2250, swap=0, page_tables=10, adj=0, exact=True), PLAIN),
        (2276, Points(total=2276, rss=2265, swap=1, page_tables=10, adj=0, exact=True), SUMMED),
    ],
)
@pytest.mark.parametrize("summed", [False, True])
def test_the_reading_that_matches_the_kernel_total_is_used(total, expected, rss, summed):
    event = victim_event(victim=victim(rss=PLAIN, rss_sum=SUMMED))

    assert points(event, 8192, total, NOW, summed=summed) == (expected, rss)


@pytest.mark.parametrize(
    ("summed", "total", "expected", "rss"),
    [
        (False, None, Points(total=2260, rss=2250, swap=0, page_tables=10, adj=0, exact=None), PLAIN),
        (True, None, Points(total=2276, rss=2265, swap=1, page_tables=10, adj=0, exact=None), SUMMED),
        (False, 2300, Points(total=2300, rss=2250, swap=0, page_tables=10, adj=0, exact=False), PLAIN),
        (True, 2300, Points(total=2300, rss=2265, swap=1, page_tables=10, adj=0, exact=False), SUMMED),
    ],
)
def test_without_a_matching_total_the_requested_reading_is_used(summed, total, expected, rss):
    event = victim_event(victim=victim(rss=PLAIN, rss_sum=SUMMED))

    assert points(event, 8192, total, NOW, summed=summed) == (expected, rss)


@pytest.mark.parametrize("summed", [False, True])
@pytest.mark.parametrize("other", [{"rss_sum": UNKNOWN_RSS}, {"rss": UNKNOWN_RSS, "rss_sum": PLAIN}])
def test_an_unknown_reading_is_not_used(other, summed):
    badness = points(victim_event(victim=victim(**other)), 8192, None, NOW, summed=summed)

    assert badness == (Points(total=2260, rss=2250, swap=0, page_tables=10, adj=0, exact=None), PLAIN)


@pytest.mark.parametrize(
    ("adj", "limit", "share"),
    [(0, 8192, 0), (300, 8192, 2400), (-500, 8192, -4000), (1000, 999, 0), (1000, 1000, 1000)],
)
def test_adj_is_in_thousandths_of_the_limit_rounded_down(adj, limit, share):
    badness, _ = points(victim_event(victim=victim(oom_score_adj=adj)), limit, None, NOW, summed=False)

    assert badness.adj == share
    assert badness.total == 2260 + share


@pytest.mark.parametrize(
    ("changes", "limit", "expected"),
    [
        ({}, None, Points(total=2260, rss=2250, swap=0, page_tables=10, adj=0, exact=None)),
        (
            {"oom_score_adj": 1},
            None,
            Points(total=None, rss=2250, swap=0, page_tables=10, adj=None, exact=None),
        ),
        ({"oom_score_adj": None}, 8192, Points(total=None, rss=2250, swap=0, page_tables=10, adj=None, exact=None)),
        ({"pgtables_bytes": None}, 8192, Points(total=None, rss=2250, swap=0, page_tables=None, adj=0, exact=None)),
        (
            {"rss": Rss(file=None, anon=2000, swap=None, shmem=50)},
            8192,
            Points(total=None, rss=None, swap=None, page_tables=10, adj=0, exact=None),
        ),
    ],
)
def test_an_unknown_part_leaves_the_total_unknown_but_adj_0_needs_no_limit(changes, limit, expected):
    assert points(victim_event(victim=victim(**changes)), limit, None, NOW, summed=False)[0] == expected


def test_the_kernel_total_is_used_even_if_parts_are_unknown():
    badness, _ = points(victim_event(victim=victim(pgtables_bytes=None)), 8192, 2260, NOW, summed=False)

    assert badness == Points(total=2260, rss=2250, swap=0, page_tables=None, adj=0, exact=None)
