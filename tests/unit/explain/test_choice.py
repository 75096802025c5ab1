# SPDX-License-Identifier: Apache-2.0
"""Why a process was chosen: the sum, the ranking, what would have changed it, and who asked for memory."""

from __future__ import annotations

from typing import Any

import pytest
from support.explained import MIB
from support.explained_text import MEMCG, case, joined

from ooMtrace.explain.choice import asked_by, chosen

POINTS = {"total": 2600, "rss": 2560, "swap": 0, "page_tables": 40, "adj": 0}


def candidate(pid: int, points: int, memory: int = MIB, adj: int = 0) -> dict[str, Any]:
    return {"pid": pid, "comm": f"c{pid}", "points": points, "memory": memory, "oom_score_adj": adj}


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        (POINTS, "2,600 points = 2,560 resident + 40 page tables + 0 adj"),
        ({**POINTS, "swap": 5, "total": 2605}, "2,605 points = 2,560 resident + 5 in swap + 40 page tables + 0 adj"),
        ({**POINTS, "adj": -100, "total": 2500}, "2,500 points = 2,560 resident + 40 page tables - 100 adj"),
        ({"total": 9}, "9 points"),
        ({"total": 9, "adj": 5}, "9 points"),
        ({"total": 9, "rss": 4, "adj": 5}, "9 points; parts: 4 resident + 5 adj (in swap and page tables not known)"),
        (
            {**POINTS, "total": 2601},
            "2,601 points; parts: 2,560 resident + 40 page tables + 0 adj (read a moment later, so the sum differs)",
        ),
    ],
)
def test_points_are_stated_as_a_sum_where_they_add_up(points, expected):
    assert joined(chosen(case(MEMCG, oom__points=points))) == f"chosen {expected}"


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, ""),
        ({"process__oom_score_adj": 0}, ""),
        ({"process__oom_score_adj": -5}, "chosen with oom_score_adj -5; its points are not known"),
        ({"oom__weighed": 1}, "chosen the only process that could be chosen"),
        ({"oom__weighed": 2}, "chosen the kernel compared 2 processes"),
        ({"oom__candidates": [candidate(8, 20)]}, "chosen next: c8 (pid 8) with 20 points"),
        (
            {"oom__weighed": 3, "oom__candidates": [candidate(8, 20), candidate(9, 21), candidate(7, 30)]},
            "chosen first of 3 processes; next: c9 (pid 9) with 21 points",
        ),
        ({"oom__verdict": "group_member"}, "chosen not by points: memory.oom.group of its cgroup kills all in it"),
        (
            {"oom__verdict": "shared_mm", "oom__points": POINTS},
            "chosen not by points: it shared the memory of the process that was chosen",
        ),
    ],
)
def test_the_ranking_is_stated_as_far_as_it_is_known(facts, expected):
    assert joined(chosen(case(MEMCG, **facts))) == expected


def test_the_label_is_on_the_first_row_alone():
    rows = [row for one in chosen(case(MEMCG, **SPARED)) for row in one.lines]

    assert [row[:12].strip() for row in rows] == ["chosen", *[""] * (len(rows) - 1)]


SPARED = {
    "oom__points": {"total": 2560 + 510, "rss": 2560, "adj": 510},
    "oom__limit_bytes": 5100 * 4096,
    "process__oom_score_adj": 102,
    "oom__candidates": [candidate(8, 3000)],
}
"""A unit of oom_score_adj is 5 pages here, and the next process had 70 points fewer."""


def test_the_highest_adjustment_that_would_have_spared_it_is_stated():
    assert "at oom_score_adj 87 or less (not 102), the next one would have died" in joined(
        chosen(case(MEMCG, **SPARED))
    )


@pytest.mark.parametrize(
    "facts",
    [
        {"oom__candidates": [candidate(8, 3070)]},
        {"process__oom_score_adj": -990},
        {"oom__points": {"total": 3070, "rss": 2561}},
        {"oom__limit_bytes": 999 * 4096},
        {"oom__candidates": []},
    ],
)
def test_no_adjustment_is_stated_that_would_not_have_spared_it(facts):
    assert "at oom_score_adj" not in joined(chosen(case(MEMCG, **{**SPARED, **facts})))


def test_a_process_that_held_more_is_stated_with_what_protected_it():
    facts = {**SPARED, "process__oom_score_adj": -990, "oom__candidates": [candidate(8, 9, 11 * MIB, -500)]}

    text = joined(chosen(case(MEMCG, **facts)))
    assert text.endswith("c8 (pid 8) held more, 11.0 MiB, but has oom_score_adj -500")


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"pid": 7, "tid": 7}, "asked by the process itself"),
        ({"pid": 7, "tid": 9, "comm": "t"}, "asked by its own thread t (tid 9)"),
        ({"pid": 7, "tid": 9}, "asked by its own thread (tid 9)"),
        ({"pid": 7}, "asked by the process itself"),
        ({"tid": 7}, "asked by the process itself"),
        ({"pid": 8, "comm": "c"}, "asked by c (pid 8)"),
        ({"comm": "c"}, "asked by c"),
        ({"pid": 8, "comm": "c", "cgroup": "/b"}, "asked by c (pid 8) in /b"),
        ({"pid": 8, "comm": "c", "cgroup": "/a/own"}, "asked by c (pid 8)"),
    ],
)
def test_whoever_asked_for_memory_is_named(facts, expected):
    assert joined(asked_by(case(MEMCG, oom__trigger=facts, cgroup__path="/a/own"))) == expected


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"oom__order": 0}, ", for one page"),
        ({"oom__order": 3}, ", for 8 pages in a row"),
        ({"oom__order": 20}, ", for 1,048,576 pages in a row"),
        ({"oom__order": 21}, ""),
        ({"oom__order": -1}, ""),
        ({"oom__gfp_mask__flags": ["A", "B", "C", "D"]}, ", for A|B|C"),
        ({"oom__order": 0, "oom__gfp_mask__flags": ["A"]}, ", for one page, A"),
    ],
)
def test_what_was_asked_for_is_stated(facts, expected):
    shown = joined(asked_by(case(MEMCG, oom__trigger={"pid": 8, "comm": "c"}, **facts)))

    assert shown == f"asked by c (pid 8){expected}"


def test_nobody_asked_for_memory_if_a_kill_was_requested():
    assert asked_by(case(MEMCG, oom__trigger={"pid": 8, "comm": "c"}, oom__scope="sysrq")) == []
    assert asked_by(case(MEMCG)) == []
