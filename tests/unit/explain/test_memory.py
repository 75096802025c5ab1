# SPDX-License-Identifier: Apache-2.0
"""Whose limit it was, how full, of what, and what else it has killed."""

from __future__ import annotations

import pytest
from support.explained import MIB
from support.explained_text import GLOBAL, MEMCG, case, joined

from ooMtrace.explain.memory import also_killed, memory


def rows(base, **facts):
    return [" ".join(row.replace("#", "").split()) for block in memory(case(base, **facts)) for row in block.lines]


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        ("container", "the container"),
        ("pod", "the pod"),
        ("qos", "all pods of the QoS class"),
        ("kubepods", "all pods of the node"),
        ("job", "the job"),
        ("unit", "unit a.service"),
        ("slice", "slice a.service"),
        ("cgroup", "/s/a.service"),
    ],
)
def test_the_owner_of_a_limit_is_named(owner, name):
    assert rows(MEMCG, oom__memcg=LIMIT, oom__limit_owner=owner)[0] == f"limit 100.0 MiB on {name}, used 99.0 MiB"


LIMIT = {"path": "/s/a.service", "usage": 99 * MIB, "limit": 100 * MIB}


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, "limit 100.0 MiB on /s/a.service, used 99.0 MiB"),
        ({"oom__memcg": {"limit": 0}}, "limit 0 bytes on a cgroup"),
        ({"oom__memcg": {"path": "/a"}}, "limit of /a"),
        ({"oom__limit_bytes": 100 * MIB}, "limit 100.0 MiB on /s/a.service, used 99.0 MiB, no swap"),
        (
            {"oom__memcg": {**LIMIT, "events": {"max": 1, "high": 20}, "swap": MIB}},
            "limit 100.0 MiB on /s/a.service, used 99.0 MiB, hit once, 1.0 MiB in swap,"
            " throttled by memory.high 20 times",
        ),
        (
            {"oom__memcg": {**LIMIT, "events": {"max": 0, "high": 0}, "swap": 0}},
            "limit 100.0 MiB on /s/a.service, used 99.0 MiB",
        ),
    ],
)
def test_a_limit_is_stated_with_its_owner_and_what_was_used(facts, expected):
    shown = joined(memory(case(MEMCG, **{"oom__memcg": LIMIT, **facts}))[:1])

    assert shown == expected


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, "limit 100.0 MiB: all RAM and swap of the host"),
        ({"oom__scope": "cpuset", "oom__mems_allowed": "1"}, "limit NUMA nodes: 1, 100.0 MiB there, swap included"),
        ({"oom__scope": "mempolicy", "oom__nodemask": "0", "oom__mems_allowed": "0-3"}, "limit NUMA nodes: 0, 100.0"),
        ({"oom__scope": "cpuset"}, "limit 100.0 MiB there, swap included"),
    ],
)
def test_what_ran_out_is_stated_if_it_was_no_cgroup(facts, expected):
    assert rows(GLOBAL, **facts)[0].startswith(expected)


@pytest.mark.parametrize("scope", ["global", "cpuset", "memcg", "sysrq"])
def test_a_size_that_is_not_known_is_not_stated(scope):
    assert not rows(GLOBAL, oom__scope=scope, oom__limit_bytes=None)[0].startswith("limit")


def test_a_requested_kill_has_no_limit():
    assert rows(GLOBAL, oom__scope="sysrq")[0].startswith("it held")


def test_the_four_largest_kinds_of_memory_are_shown_with_their_share():
    stat = {"anon": 50 * MIB, "file": 30 * MIB, "shmem": 10 * MIB, "kernel": 15 * MIB, "pagetables": 4 * MIB}

    assert rows(MEMCG, oom__memcg={"usage": 100 * MIB, "limit": 100 * MIB, "stat": stat})[1:5] == [
        "in cgroup anonymous 50.0 MiB 50 %",
        "page cache 20.0 MiB 20 %",
        "other kernel 11.0 MiB 11 %",
        "shared, tmpfs 10.0 MiB 10 %",
    ]


def test_what_the_statistics_do_not_list_is_shown_as_that():
    stat = {"rss": 10 * MIB, "cache": 5 * MIB, "total_rss": 50 * MIB, "total_cache": 10 * MIB}
    shown = rows(MEMCG, oom__memcg={"usage": 100 * MIB, "limit": 100 * MIB, "stat": stat})

    assert shown[1:4] == [
        "in cgroup anonymous 50.0 MiB 50 %",
        "not listed 40.0 MiB 40 %",
        "page cache 10.0 MiB 10 %",
    ]


def test_the_memory_of_the_victim_is_shown_where_that_of_the_cgroup_is_not_known():
    held = {"anon": 150 * MIB, "file": 48 * MIB, "shmem": 2 * MIB, "swap": MIB}
    shown = rows(GLOBAL, process__memory=held)

    assert shown[1:] == ["it held anonymous 150.0 MiB 74 %", "mapped files 48.0 MiB 23 %"]


def test_a_bar_is_as_long_as_the_share():
    held = {"anon": 50 * MIB, "file": 50 * MIB}

    assert [block.lines[0].count("#") for block in memory(case(GLOBAL, process__memory=held))[1:]] == [15]


@pytest.mark.parametrize(
    ("usage", "anon", "expected"),
    [
        (100, 75, "(at least 25.0 MiB of the usage is not its own"),
        (100, 76, ""),
        (100, 100, ""),
        (100, 101, "(it mapped 101.0 MiB, above the limit"),
        (0, 0, ""),
    ],
)
def test_memory_that_is_not_the_victims_is_stated_from_a_quarter_on(usage, anon, expected):
    limit = {"path": "/a", "usage": usage * MIB, "limit": 100 * MIB}
    held = {"anon": anon * MIB, "file": 0, "shmem": 0, "page_tables": 0}
    found = [row for row in rows(MEMCG, oom__memcg=limit, process__memory=held) if "(" in row]

    assert [row.startswith(expected) for row in found] == ([True] if expected else [])


@pytest.mark.parametrize(
    ("facts", "earlier", "expected"),
    [
        ({"oom__memcg__events": {"oom_kill": 1}}, "", ""),
        ({"oom__memcg__events": {"oom_kill": 2}}, "", "also 2 kills in this cgroup since it was made"),
        (
            {"oom__memcg__events": {"oom_kill": 2}, "oom__memcg__version": 2},
            "",
            "also 2 kills in this cgroup and below since it was made",
        ),
        ({"oom__memcg__events": {"oom_kill": 2}, "oom__scope": "global"}, "", ""),
        ({"oom__group__size": 1, "oom__number": 1200}, "", "also this is kill number 1,200 since boot, of all causes"),
        ({"oom__group__size": 2, "oom__number": 5}, "", "also 2 processes in this incident (memory.oom.group)"),
        ({"oom__group__size": 2, "oom__number": 5}, "x", "also 2 processes in this incident (memory.oom.group); x"),
        ({"oom__number": 5}, "2 earlier kills", "also 2 earlier kills"),
        ({}, "", ""),
    ],
)
def test_what_else_the_cause_has_killed_is_stated(facts, earlier, expected):
    assert joined(also_killed(case(MEMCG, **facts), earlier)) == expected
