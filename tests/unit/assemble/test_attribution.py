# SPDX-License-Identifier: Apache-2.0
"""Why the kernel killed: scope, memory cgroup and limit, from its decision or derived."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.probe_events import KILL_STACK, NO_LIMIT, NOW, SYMBOLS, decision, level, victim, victim_event

from ooMtrace.assemble.attribution import (
    UNLIMITED,
    attribute,
    derived_limit,
    in_stack,
    memcg_limit,
    nearest_limit,
    scope_from_decision,
    scope_from_stack,
)
from ooMtrace.record import Points


@pytest.mark.parametrize(
    ("constraint", "order", "scope", "name"),
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
def test_the_scope_is_read_from_the_decision(constraint, order, scope, name):
    assert scope_from_decision(decision(constraint=constraint, order=order)) == (scope, name)


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
def test_the_scope_is_derived_from_the_stack(stack, scope):
    assert scope_from_stack(stack, SYMBOLS) == scope


@pytest.mark.parametrize("symbols", [{}, {"mem_cgroup_out_of_memory": (0, 0)}])
def test_without_symbol_addresses_the_stack_gives_no_scope(symbols):
    assert scope_from_stack(KILL_STACK, symbols) is None
    assert in_stack(KILL_STACK, symbols, "mem_cgroup_out_of_memory") is None


def test_a_kernel_without_sysrq_has_no_scope_sysrq():
    without = {name: range_ for name, range_ in SYMBOLS.items() if name != "moom_callback"}

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
        ([FULL, (9000, 8192), (5, NO_LIMIT)], (12, 11, 1), 0),
        ([(5, NO_LIMIT), (UNLIMITED, UNLIMITED), (5, NO_LIMIT)], (12, 11, 1), None),
        ([(5, NO_LIMIT), (5, UNLIMITED - 1), (5, NO_LIMIT)], (12, 11, 1), 1),
        ([(None, 8192), FULL, (5, NO_LIMIT)], (12, 11, 1), 1),
        pytest.param(
            [(50, 0), ROOMY, (5, NO_LIMIT)],
            (12, 11, 1),
            0,
        ),
    ],
)
def test_the_oom_domain_is_the_common_ancestor_nearest_to_its_limit(levels, trigger, nearest):
    memcg = tuple(level(id_, *sizes) for id_, sizes in zip((12, 11, 1), levels, strict=True))

    assert nearest_limit(victim_event(memcg=memcg, trigger_memcg_ids=trigger)) == nearest


@pytest.mark.parametrize(("names", "nearest"), [(127, 3), (128, None), (None, None)])
def test_the_oom_domain_is_unknown_if_it_may_be_above_the_cgroups_that_were_examined(names, nearest):
    """Those are 128: 127 with a name, and the root."""
    ids = tuple(range(1000, 1128))
    memcg = tuple(level(id_, *((8190, 8192) if id_ == 1003 else (5, NO_LIMIT))) for id_ in ids)
    path = None if names is None else ("n",) * names

    assert nearest_limit(victim_event(memcg=memcg, memcg_path=path, trigger_memcg_ids=ids)) == nearest


@pytest.mark.parametrize(
    ("version", "swap", "nearest"),
    [(1, (8192, 8192), 0), (1, (8000, 8192), 1), (1, (8192, NO_LIMIT), 1), (1, (None, 8192), 1), (2, (8192, 8192), 1)],
)
def test_on_version_1_memsw_may_reach_its_limit_first(version, swap, nearest):
    usage, limit = swap
    lower = level(12, 100, 8192, swap_usage=usage, swap_max=limit)
    memcg = (lower, level(11, 8191, 8192), level(1))

    assert nearest_limit(victim_event(memcg=memcg, memcg_version=version)) == nearest


SWAP = replace(NOW, swap=1000)


@pytest.mark.parametrize(
    ("version", "snapshot", "changes", "limit"),
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
def test_the_limit_of_a_cgroup_includes_the_swap_it_may_use(version, snapshot, changes, limit):
    assert memcg_limit(level(11, 8190, 8192, **changes), version, snapshot) == limit


@pytest.mark.parametrize(
    ("scope", "snapshot", "limit"),
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
def test_the_global_limit_is_ram_and_swap(scope, snapshot, limit):
    assert derived_limit(victim_event(), scope, None, snapshot) == limit


def test_with_a_decision_nothing_is_derived():
    attribution = attribute(victim_event(decision=decision()), SYMBOLS, NOW)

    assert (attribution.scope, attribution.constraint, attribution.memcg_index, attribution.limit) == (
        "memcg",
        "CONSTRAINT_MEMCG",
        1,
        8192,
    )
    assert attribution.points.total == 2260
    assert attribution.derived == ()


def test_the_decision_takes_precedence_over_stack_and_limits():
    event = victim_event(decision=decision(constraint=0, memcg_id=None, totalpages=999_000), stack=KILL_STACK)

    attribution = attribute(event, SYMBOLS, NOW)

    assert (attribution.scope, attribution.memcg_index, attribution.limit) == ("global", None, 999_000)


def test_points_of_group_members_are_derived():
    attribution = attribute(victim_event(pid=105, decision=decision()), SYMBOLS, NOW)

    assert attribution.points.total == 2260
    assert attribution.derived == ("oom.points",)


def test_without_a_decision_computed_facts_are_derived():
    attribution = attribute(victim_event(), SYMBOLS, NOW)

    assert (attribution.scope, attribution.constraint, attribution.memcg_index, attribution.limit) == (
        "memcg",
        None,
        1,
        8192,
    )
    assert attribution.derived == ("oom.scope", "oom.limit_bytes", "oom.memcg", "oom.points")


def test_unknown_facts_are_not_derived():
    attribution = attribute(victim_event(stack=()), SYMBOLS, NOW)

    assert (attribution.scope, attribution.memcg_index, attribution.limit, attribution.points.total) == (
        None,
        None,
        None,
        2260,
    )
    assert attribution.derived == ("oom.points",)

    attribution = attribute(victim_event(stack=(), victim=victim(oom_score_adj=5)), SYMBOLS, NOW)

    assert (attribution.scope, attribution.memcg_index, attribution.limit, attribution.points.total) == (
        None,
        None,
        None,
        None,
    )
    assert attribution.derived == ()


def test_a_global_oom_has_no_memory_cgroup():
    attribution = attribute(victim_event(stack=(0x1050, 0x5000)), SYMBOLS, NOW)

    assert (attribution.scope, attribution.memcg_index, attribution.limit) == ("global", None, 1_000_000)
    assert attribution.derived == ("oom.scope", "oom.limit_bytes", "oom.points")


@pytest.mark.parametrize("nodes", [2, 8, None])
def test_without_a_decision_the_scope_is_unknown_on_several_nodes(nodes):
    attribution = attribute(victim_event(stack=(0x1050, 0x5000)), SYMBOLS, replace(NOW, nodes=nodes))

    assert (attribution.scope, attribution.constraint, attribution.memcg_index, attribution.limit) == (
        None,
        None,
        None,
        None,
    )
    assert attribution.points == Points(total=2260, rss=2250, swap=0, page_tables=10, adj=0, exact=None)
    assert attribution.derived == ("oom.points",)


@pytest.mark.parametrize(
    ("stack", "scope", "level", "limit"), [(KILL_STACK, "memcg", 1, 8192), ((0x1050, 0x4050), "sysrq", None, 1_000_000)]
)
def test_several_nodes_do_not_hide_scope_memcg_or_sysrq(stack, scope, level, limit):
    attribution = attribute(victim_event(stack=stack), SYMBOLS, replace(NOW, nodes=2))

    assert (attribution.scope, attribution.memcg_index, attribution.limit) == (scope, level, limit)


def test_with_a_decision_the_number_of_nodes_is_irrelevant():
    attribution = attribute(
        victim_event(decision=decision(constraint=0, memcg_id=None)), SYMBOLS, replace(NOW, nodes=2)
    )

    assert (attribution.scope, attribution.constraint) == ("global", "CONSTRAINT_NONE")
