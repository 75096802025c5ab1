# SPDX-License-Identifier: Apache-2.0
"""What is computed from a line: nothing if a fact is missing, and only what the facts support."""

from __future__ import annotations

import pytest
from support.explained import MIB
from support.explained_text import GLOBAL, MEMCG, case

from ooMtrace.explain.case import Part


def charged(**stat):
    memcg = {"usage": 100, "limit": 100, "stat": stat}
    return {part.name: part.size for part in case(MEMCG, oom__memcg=memcg).charged}


@pytest.mark.parametrize(
    ("stat", "expected"),
    [
        ({"anon": 60}, {}),
        ({"file": 60}, {}),
        (
            {"anon": 60, "file": 40},
            {"anonymous": 60, "page cache": 40, "shared, tmpfs": 0, "page tables": 0},
        ),
        (
            {"rss": 50, "cache": 40, "shmem": 30},
            {"anonymous": 50, "page cache": 10, "shared, tmpfs": 30, "page tables": 0, "not listed": 10},
        ),
        (
            {"anon": 50, "file": 10, "shmem": 30, "kernel": 40, "pagetables": 15},
            {"anonymous": 50, "page cache": 0, "shared, tmpfs": 10, "page tables": 15, "other kernel": 25},
        ),
        (
            {"anon": 90, "file": 0, "kernel": 5, "pagetables": 6},
            {
                "anonymous": 90,
                "page cache": 0,
                "shared, tmpfs": 0,
                "page tables": 6,
                "other kernel": 0,
                "not listed": 4,
            },
        ),
    ],
)
def test_each_byte_that_is_charged_is_counted_once(stat, expected):
    assert charged(**stat) == expected


def test_on_version_1_the_cgroups_below_are_included():
    assert charged(rss=1, cache=2, total_rss=70, total_cache=30)["anonymous"] == 70


def test_resident_memory_is_known_if_all_its_parts_are():
    assert case(MEMCG, process__memory={"anon": 1, "file": 2, "shmem": 4, "swap": 8}).resident == 7
    assert case(MEMCG, process__memory={"anon": 1, "file": 2}).resident is None
    assert case(MEMCG, process__memory={"anon": 1, "swap": 0}).held == (Part("anonymous", 1), Part("in swap", 0))


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, 90 * MIB),
        ({"process__memory": {"anon": 10 * MIB, "file": MIB, "shmem": 0, "page_tables": 2 * MIB}}, 87 * MIB),
        ({"process__memory": {"anon": 10 * MIB, "file": MIB, "shmem": 0}}, 89 * MIB),
        ({"process__memory": {"anon": 110 * MIB, "file": 0, "shmem": 0}}, 0),
        ({"process__memory": {"anon": 1}}, None),
        ({"oom__memcg": {"limit": 100}}, None),
        ({"oom__scope": "global"}, None),
    ],
)
def test_what_is_not_the_victims_is_stated_at_its_least(facts, expected):
    assert case(MEMCG, **facts).others == expected


@pytest.mark.parametrize(
    ("born", "seconds"),
    [("2026-11-28T08:59:59Z", 1), ("2026-11-28T09:00:00Z", 0), ("2026-11-28T09:00:01Z", None), (None, None)],
)
def test_the_age_is_not_known_if_a_clock_was_set_back(born, seconds):
    age = case(MEMCG, time="2026-11-28T09:00:00Z", process__creation__time=born).age

    assert (None if age is None else age.total_seconds()) == seconds


@pytest.mark.parametrize(
    ("pages", "page"), [(2560, 4096), (640, 16384), (160, 65536), (1280, None), (2561, None), (0, None)]
)
def test_the_size_of_a_page_is_one_that_linux_has(pages, page):
    found = case(MEMCG, oom__points__rss=pages)

    assert found.page == page
    assert found.adj_unit == (200 * MIB // page // 1000 if page else None)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"oom__trigger__pid": 7}, True),
        ({"oom__trigger__pid": 8}, False),
        ({"oom__trigger__pid": 8, "oom__trigger__tid": 7}, False),
        ({"oom__trigger__tid": 7}, True),
        ({"oom__trigger__tid": 8}, None),
        ({"oom__trigger__pid": 7, "process__pid": None}, True),
        ({"oom__trigger__tid": 7, "process__pid": None}, True),
        ({}, None),
        ({"process__tid": None}, None),
    ],
)
def test_whether_the_victim_asked_is_known_by_its_pid_or_its_thread(facts, expected):
    assert case(MEMCG, **facts).is_own_trigger is expected


def test_rivals_are_in_the_order_of_their_points_without_the_victim():
    rows = [(1, 5), (7, 90), (2, 50), (3, None), (4, -5)]
    candidates = [{"pid": pid, "points": points} for pid, points in rows]

    assert [one.number("pid") for one in case(MEMCG, oom__candidates=candidates).rivals] == [2, 1, 4]
    threads = case(MEMCG, oom__candidates=candidates, process__pid=None, process__tid=2)
    assert [one.number("pid") for one in threads.rivals] == [7, 1, 4]


@pytest.mark.parametrize(("memory", "expected"), [(11, 8), (10, None), (None, None)])
def test_the_largest_process_is_one_that_held_more_than_the_victim(memory, expected):
    candidates = [
        {"pid": 8, "memory": memory and memory * MIB},
        {"pid": 9, "memory": MIB},
        {"pid": 7, "memory": 99 * MIB},
    ]
    found = case(MEMCG, oom__candidates=candidates).largest

    assert (found and found.number("pid")) == expected


def test_swap_and_page_tables_count_for_what_the_victim_held():
    held = {"anon": 5 * MIB, "file": 2 * MIB, "shmem": MIB, "swap": 2 * MIB, "page_tables": 2 * MIB}

    assert case(MEMCG, process__memory=held, oom__candidates=[{"pid": 8, "memory": 12 * MIB}]).largest is None


@pytest.mark.parametrize(("own", "expected"), [("/a", False), ("/a/b", True), (None, False)])
def test_whether_the_limit_is_of_a_cgroup_above(own, expected):
    assert case(MEMCG, cgroup__path=own).is_limit_above is expected


def test_a_limit_is_that_of_the_cgroup_that_ran_out():
    assert case(MEMCG).limit == 100 * MIB
    assert case(GLOBAL, oom__memcg={"limit": 5}).limit is None
    assert case(GLOBAL, oom__memcg={"stat": {"anon": 1, "file": 1}}).charged == ()


@pytest.mark.parametrize(("percentage", "expected"), [(50, True), (51, False)])
def test_a_share_is_compared_with_all_memory_of_the_victim(percentage, expected):
    held = {"anon": 50, "file": 50}

    assert case(GLOBAL, process__memory=held).is_mostly("anonymous", percentage) is expected
    assert not case(GLOBAL, process__memory={"anon": 0}).is_mostly("anonymous", 0)
    assert not case(GLOBAL).is_mostly("other kernel", 0)
