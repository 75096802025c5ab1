# SPDX-License-Identifier: Apache-2.0
"""Advice about what a kill takes with it, and about swap."""

from __future__ import annotations

import pytest
from support.explained import MIB
from support.explained_text import MEMCG, case

from ooMtrace.explain import advice_effect as advice


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        ({"size": 2, "path": "/g"}, "All 2 processes of /g died, because memory.oom.group is set: a 0 in"),
        ({"size": 2}, "All 2 processes of the cgroup died"),
        ({"size": 2, "set_by": "kubernetes"}, "singleProcessOOMKill: true"),
        ({"size": 2, "set_by": "systemd"}, "OOMPolicy=continue or stop"),
        ({"size": 1}, None),
        ({}, None),
    ],
)
def test_a_group_is_named_from_two_members_on(group, expected):
    text = advice.group(case(MEMCG, oom__group=group))

    assert expected in (text or "") if expected else text is None


def test_a_member_is_referred_to_the_line_that_has_the_cause():
    member = case(MEMCG, oom__verdict="group_member", oom__group={"size": 2})

    assert (advice.group_member(member) or "").endswith("whose verdict is `killed`: that one has the cause.")
    assert (advice.group_member(case(MEMCG, oom__verdict="group_member")) or "").startswith(
        "All processes of the cgroup"
    )
    assert advice.group(member) is None
    assert advice.group_member(case(MEMCG, oom__group={"size": 2})) is None


@pytest.mark.parametrize(
    ("systemd", "expected"),
    [
        ({"oom_policy": "stop", "stops_unit": True, "unit": "a.service"}, "systemd now stops the rest of a.service ("),
        ({"oom_policy": "stop", "stops_unit": True}, "systemd now stops the rest of the unit ("),
        ({"oom_policy": "stop", "stops_unit": False}, None),
        ({"oom_policy": "kill", "stops_unit": True}, None),
        ({}, None),
    ],
)
def test_a_unit_that_systemd_stops_is_named(systemd, expected):
    text = advice.unit_stopped(case(MEMCG, systemd=systemd))

    assert (text or "").startswith(expected) if expected else text is None


LIMIT = {"limit": 20 * MIB, "usage": 20 * MIB, "version": 2, "swap_limit": 0}


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, "memory.swap.max is 0, so all 10.0 MiB of heap stays in RAM"),
        ({"oom__memcg": {**LIMIT, "swap_limit": 5}}, "no swap was usable, so all"),
        ({"oom__memcg": {**LIMIT, "version": 1}}, None),
        ({"oom__limit_bytes": 21 * MIB}, None),
        ({"oom__memcg": {**LIMIT, "limit": 21 * MIB}, "oom__limit_bytes": 21 * MIB}, None),
        ({"oom__verdict": "group_member"}, None),
        ({"oom__scope": "global"}, None),
        ({"process__memory": {"file": 0}}, None),
    ],
)
def test_swap_is_advised_where_there_was_none_and_half_of_the_limit_is_heap(facts, expected):
    text = advice.no_swap(case(MEMCG, **{"oom__limit_bytes": 20 * MIB, "oom__memcg": LIMIT, **facts}))

    assert (text or "").startswith(expected) if expected else text is None
