# SPDX-License-Identifier: Apache-2.0
"""Why the kernel killed: scope, memory cgroup, limit and points, from its own word or from what is left to be seen."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.probe_events import KILL_STACK, NO_LIMIT, NOW, SYMBOLS, decision, level, sighting, victim

from ooMtrace.assemble.attribution import (
    UNKNOWN_RSS,
    attribute,
    derived_limit,
    in_stack,
    kernel_total,
    memcg_limit,
    nearest_limit,
    points,
    scope_from_decision,
    scope_from_stack,
)
from ooMtrace.events import Rss
from ooMtrace.record import Points

LONG_MAX = 9223372036854775807


@pytest.mark.parametrize(
    ("constraint", "order", "scope", "word"),
    [
        (0, 0, "global", "CONSTRAINT_NONE"),
        (1, 0, "cpuset", "CONSTRAINT_CPUSET"),
        (2, 0, "mempolicy", "CONSTRAINT_MEMORY_POLICY"),
        (3, 0, "memcg", "CONSTRAINT_MEMCG"),
        (0, -1, "sysrq", "CONSTRAINT_NONE"),
        (0, None, "global", "CONSTRAINT_NONE"),
        (4, 0, None, None),
        (-5, 0, None, None),
        (None, -1, None, None),
    ],
)
def test_the_kernels_decision_gives_the_scope(constraint, order, scope, word):
    assert scope_from_decision(decision(constraint=constraint, order=order)) == (scope, word)


@pytest.mark.parametrize(
    ("stack", "scope"),
    [
        ((0x1050, 0x3050), "memcg"),
        ((0x1050, 0x4050), "sysrq"),
        ((0x1050, 0x5000), "global"),
        ((0x3001,), "memcg"),
        ((0x3100,), "memcg"),
        ((0x3000,), "global"),
        ((0x3101,), "global"),
        ((), None),
    ],
)
def test_the_way_to_the_kill_gives_the_scope(stack, scope):
    assert scope_from_stack(stack, SYMBOLS) == scope


@pytest.mark.parametrize("symbols", [{}, {"mem_cgroup_out_of_memory": (0, 0)}])
def test_without_addresses_the_way_tells_nothing(symbols):
    assert scope_from_stack(KILL_STACK, symbols) is None
    assert in_stack(KILL_STACK, symbols, "mem_cgroup_out_of_memory") is None


def test_a_kernel_without_sysrq_is_never_asked_for_a_kill():
    without = {name: where for name, where in SYMBOLS.items() if name != "moom_callback"}

    assert scope_from_stack((0x1050, 0x4050), without) == "global"


FULL, NEAR, ROOMY = (8192, 8192), (8190, 8192), (100, 8192)


@pytest.mark.parametrize(
    ("levels", "trigger", "nearest"),
    [
        ([(5, None), (5, None), (5, None)], (12, 11, 1), None),
        ([(5, NO_LIMIT), (5, NO_LIMIT), (5, NO_LIMIT)], (12, 11, 1), None),
        ([(5, NO_LIMIT), FULL, (5, NO_LIMIT)], (12, 11, 1), 1),
        ([ROOMY, NEAR, (5, NO_LIMIT)], (12, 11, 1), 1),
        ([NEAR, ROOMY, (5, NO_LIMIT)], (12, 11, 1), 0),
        ([FULL, NEAR, (5, NO_LIMIT)], (99, 11, 1), 1),
        ([FULL, ROOMY, (5, NO_LIMIT)], (99, 11, 1), 1),
        ([FULL, (5, NO_LIMIT), (5, NO_LIMIT)], (99, 11, 1), 0),
        ([FULL, NEAR, (5, NO_LIMIT)], (), 0),
        ([FULL, FULL, FULL], (12, 11, 1), 0),
        ([(5, NO_LIMIT), FULL, FULL], (12, 11, 1), 1),
        ([(9000, 8192), FULL, (5, NO_LIMIT)], (12, 11, 1), 0),
        ([(None, 8192), FULL, (5, NO_LIMIT)], (12, 11, 1), 1),
        pytest.param(
            [(50, 0), ROOMY, (5, NO_LIMIT)],
            (12, 11, 1),
            0,
        ),
    ],
)
def test_the_cgroup_out_of_memory_is_the_one_nearest_to_its_limit_that_holds_trigger_and_victim(
    levels, trigger, nearest
):
    memcg = tuple(level(id_, *sizes) for id_, sizes in zip((12, 11, 1), levels, strict=True))

    assert nearest_limit(sighting(memcg=memcg, trigger_memcg_ids=trigger)) == nearest


@pytest.mark.parametrize(
    ("version", "swap", "nearest"),
    [(1, (8192, 8192), 0), (1, (8000, 8192), 1), (1, (8192, NO_LIMIT), 1), (1, (None, 8192), 1), (2, (8192, 8192), 1)],
)
def test_on_version_1_memory_and_swap_together_may_reach_their_limit_first(version, swap, nearest):
    usage, most = swap
    lower = level(12, 100, 8192, swap_usage=usage, swap_max=most)
    memcg = (lower, level(11, 8191, 8192), level(1))

    assert nearest_limit(sighting(memcg=memcg, memcg_version=version)) == nearest


SWAP = replace(NOW, swap=1000)


@pytest.mark.parametrize(
    ("version", "now", "changes", "limit"),
    [
        (2, NOW, {}, 8192),
        (2, NOW, {"swap_max": 500}, 8192),
        (2, SWAP, {"swap_max": 500}, 8692),
        (2, SWAP, {"swap_max": NO_LIMIT}, 9192),
        (2, SWAP, {"swap_max": 0}, 8192),
        (2, SWAP, {"swap_max": None}, 8192),
        (2, SWAP, {"swap_max": 500, "swappiness": 0}, 8692),
        (2, replace(SWAP, swappiness=0), {"swap_max": 500}, 8192),
        (2, replace(SWAP, swappiness=None), {"swap_max": 500}, 8192),
        (2, replace(SWAP, swap=None), {"swap_max": 500}, 8192),
        (1, NOW, {"swap_max": 8692}, 8192),
        (1, SWAP, {"swap_max": 8692}, 8692),
        (1, SWAP, {"swap_max": 8192}, 8192),
        (1, SWAP, {"swap_max": 8000}, 8192),
        (1, SWAP, {"swap_max": NO_LIMIT}, 9192),
        (1, SWAP, {"swap_max": 8692, "swappiness": 0}, 8192),
        (1, SWAP, {"swap_max": 8692, "swappiness": None}, 8192),
        (1, replace(SWAP, swappiness=0), {"swap_max": 8692}, 8692),
        (2, SWAP, {"max": None}, None),
    ],
)
def test_the_limit_is_the_cgroups_and_the_swap_that_it_may_use(version, now, changes, limit):
    assert memcg_limit(level(11, 8190, 8192, **changes), version, now) == limit


@pytest.mark.parametrize(
    ("scope", "now", "limit"),
    [
        ("global", NOW, 1_000_000),
        ("global", SWAP, 1_001_000),
        ("sysrq", SWAP, 1_001_000),
        ("global", replace(NOW, swap=None), 1_000_000),
        ("global", replace(NOW, ram=None), None),
        ("memcg", SWAP, None),
        (None, NOW, None),
    ],
)
def test_outside_of_cgroups_the_limit_is_ram_and_swap(scope, now, limit):
    assert derived_limit(sighting(), scope, None, now) == limit


@pytest.mark.parametrize(
    ("changes", "total"),
    [
        ({}, 2260),
        ({"chosen_points": LONG_MAX}, None),
        ({"chosen_points": None}, None),
        ({"chosen_points": -5}, -5),
        ({"chosen_points": 0}, 0),
        ({"message": "Out of memory (oom_kill_allocating_task)"}, None),
        ({"message": None}, 2260),
        ({"chosen_pid": 99}, None),
        ({"chosen_pid": None}, None),
    ],
)
def test_only_what_the_kernel_weighed_is_its_total(changes, total):
    assert kernel_total(sighting(decision=decision(**changes))) == total


def test_without_a_decision_there_is_no_total_of_the_kernels():
    assert kernel_total(sighting()) is None


PLAIN, EXACT = Rss(file=200, anon=2000, swap=0, shmem=50), Rss(file=205, anon=2010, swap=1, shmem=50)


@pytest.mark.parametrize(
    ("total", "expected", "rss"),
    [
        (2260, Points(total=2260, rss=2250, swap=0, page_tables=10, adj=0, exact=True), PLAIN),
        (2276, Points(total=2276, rss=2265, swap=1, page_tables=10, adj=0, exact=True), EXACT),
    ],
)
@pytest.mark.parametrize("summed", [False, True])
def test_the_reading_that_the_kernels_total_confirms_is_the_right_one(total, expected, rss, summed):
    seen = sighting(victim=victim(rss=PLAIN, rss_sum=EXACT))

    assert points(seen, 8192, total, NOW, summed=summed) == (expected, rss)


@pytest.mark.parametrize(
    ("summed", "total", "expected", "rss"),
    [
        (False, None, Points(total=2260, rss=2250, swap=0, page_tables=10, adj=0, exact=None), PLAIN),
        (True, None, Points(total=2276, rss=2265, swap=1, page_tables=10, adj=0, exact=None), EXACT),
        (False, 2300, Points(total=2300, rss=2250, swap=0, page_tables=10, adj=0, exact=False), PLAIN),
        (True, 2300, Points(total=2300, rss=2265, swap=1, page_tables=10, adj=0, exact=False), EXACT),
    ],
)
def test_without_a_total_that_confirms_one_the_reading_is_the_one_asked_for(summed, total, expected, rss):
    seen = sighting(victim=victim(rss=PLAIN, rss_sum=EXACT))

    assert points(seen, 8192, total, NOW, summed=summed) == (expected, rss)


@pytest.mark.parametrize("summed", [False, True])
@pytest.mark.parametrize("other", [{"rss_sum": UNKNOWN_RSS}, {"rss": UNKNOWN_RSS, "rss_sum": PLAIN}])
def test_a_reading_that_is_not_there_leaves_the_other(other, summed):
    found = points(sighting(victim=victim(**other)), 8192, None, NOW, summed=summed)

    assert found == (Points(total=2260, rss=2250, swap=0, page_tables=10, adj=0, exact=None), PLAIN)


@pytest.mark.parametrize(
    ("adj", "limit", "share"),
    [(0, 8192, 0), (300, 8192, 2400), (-500, 8192, -4000), (1000, 999, 0), (1000, 1000, 1000)],
)
def test_adj_counts_in_thousandths_of_the_limit_rounded_down(adj, limit, share):
    found, _ = points(sighting(victim=victim(oom_score_adj=adj)), limit, None, NOW, summed=False)

    assert found.adj == share
    assert found.total == 2260 + share


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
def test_a_part_that_is_not_known_makes_no_total_but_adj_0_needs_no_limit(changes, limit, expected):
    assert points(sighting(victim=victim(**changes)), limit, None, NOW, summed=False)[0] == expected


def test_a_total_of_the_kernels_stands_even_where_parts_are_not_known():
    found, _ = points(sighting(victim=victim(pgtables_bytes=None)), 8192, 2260, NOW, summed=False)

    assert found == Points(total=2260, rss=2250, swap=0, page_tables=None, adj=0, exact=None)


def test_with_a_decision_nothing_is_derived():
    found = attribute(sighting(decision=decision()), SYMBOLS, NOW)

    assert (found.scope, found.constraint, found.level, found.limit) == ("memcg", "CONSTRAINT_MEMCG", 1, 8192)
    assert found.points.total == 2260
    assert found.derived == ()


def test_the_decision_counts_and_not_what_the_stack_or_the_limits_suggest():
    seen = sighting(decision=decision(constraint=0, memcg_id=None, totalpages=999_000), stack=KILL_STACK)

    found = attribute(seen, SYMBOLS, NOW)

    assert (found.scope, found.level, found.limit) == ("global", None, 999_000)


def test_members_of_a_group_have_points_of_our_own_reckoning():
    found = attribute(sighting(pid=105, decision=decision()), SYMBOLS, NOW)

    assert found.points.total == 2260
    assert found.derived == ("oom.points",)


def test_without_a_decision_all_that_is_worked_out_is_called_so():
    found = attribute(sighting(), SYMBOLS, NOW)

    assert (found.scope, found.constraint, found.level, found.limit) == ("memcg", None, 1, 8192)
    assert found.derived == ("oom.scope", "oom.limit_bytes", "oom.memcg", "oom.points")


def test_what_could_not_be_worked_out_is_not_called_derived():
    found = attribute(sighting(stack=()), SYMBOLS, NOW)

    assert (found.scope, found.level, found.limit, found.points.total) == (None, None, None, 2260)
    assert found.derived == ("oom.points",)

    found = attribute(sighting(stack=(), victim=victim(oom_score_adj=5)), SYMBOLS, NOW)

    assert (found.scope, found.level, found.limit, found.points.total) == (None, None, None, None)
    assert found.derived == ()


def test_a_global_oom_names_no_cgroup_however_full_the_victims_is():
    found = attribute(sighting(stack=(0x1050, 0x5000)), SYMBOLS, NOW)

    assert (found.scope, found.level, found.limit) == ("global", None, 1_000_000)
    assert found.derived == ("oom.scope", "oom.limit_bytes", "oom.points")


@pytest.mark.parametrize("nodes", [2, 8, None])
def test_without_a_decision_a_cpuset_or_policy_cannot_be_told_from_the_whole_host(nodes):
    found = attribute(sighting(stack=(0x1050, 0x5000)), SYMBOLS, replace(NOW, nodes=nodes))

    assert (found.scope, found.constraint, found.level, found.limit) == (None, None, None, None)
    assert found.points == Points(total=2260, rss=2250, swap=0, page_tables=10, adj=0, exact=None)
    assert found.derived == ("oom.points",)


@pytest.mark.parametrize(
    ("stack", "scope", "level", "limit"), [(KILL_STACK, "memcg", 1, 8192), ((0x1050, 0x4050), "sysrq", None, 1_000_000)]
)
def test_memory_nodes_do_not_hide_a_cgroup_or_sysrq(stack, scope, level, limit):
    found = attribute(sighting(stack=stack), SYMBOLS, replace(NOW, nodes=2))

    assert (found.scope, found.level, found.limit) == (scope, level, limit)


def test_with_a_decision_memory_nodes_do_not_count():
    found = attribute(sighting(decision=decision(constraint=0, memcg_id=None)), SYMBOLS, replace(NOW, nodes=2))

    assert (found.scope, found.constraint) == ("global", "CONSTRAINT_NONE")
