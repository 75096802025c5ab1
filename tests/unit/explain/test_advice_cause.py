# SPDX-License-Identifier: Apache-2.0
"""Advice about what ran out and why this process was chosen: what it says, and where it says nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.explained import MIB
from support.explained_text import GLOBAL, MEMCG, case

from ooMtrace.explain import advice_cause as advice
from ooMtrace.explain.case import Case


def check(
    rule: Callable[[Case], str | None], base: dict[str, Any], facts: dict[str, Any], expected: str | None
) -> None:
    text = rule(case(base, **facts))
    if expected is None:
        assert text is None
    else:
        assert text is not None
        assert expected in text


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"oom__scope": "cpuset", "oom__mems_allowed": "1"}, "Only NUMA node 1 was allowed"),
        ({"oom__scope": "cpuset", "oom__mems_allowed": "0-1"}, "Only NUMA nodes 0-1 were allowed"),
        ({"oom__scope": "cpuset", "oom__cpuset": "/c"}, "Only some NUMA nodes were allowed"),
        ({"oom__scope": "cpuset", "oom__cpuset": "/c"}, "allow more in cpuset.mems of /c."),
        ({"oom__scope": "cpuset", "oom__cpuset": "/"}, "allow more in cpuset.mems."),
        ({"oom__scope": "mempolicy", "oom__nodemask": "0", "oom__mems_allowed": "0-1"}, "Only NUMA node 0 was allowed"),
        ({"oom__scope": "mempolicy"}, "numactl --preferred"),
        ({"oom__scope": "global"}, None),
    ],
)
def test_the_nodes_that_were_allowed_are_named(facts, expected):
    check(advice.nodes, GLOBAL, facts, expected)


def test_only_a_request_is_sysrq():
    check(advice.sysrq, GLOBAL, {"oom__scope": "sysrq"}, "Find out who requested it")
    check(advice.sysrq, GLOBAL, {}, None)


def test_processes_that_may_not_be_killed_are_named():
    candidates = [{"comm": f"c{at}", "pid": at, "oom_score_adj": -1000, "memory": MIB} for at in range(5)]
    candidates.insert(0, {"comm": "x", "pid": 9, "oom_score_adj": -999})
    reason = {"oom__reason": "no_killable_process"}

    named = "c0 (pid 0, 1.0 MiB), c1 (pid 1, 1.0 MiB), c2 (pid 2, 1.0 MiB), 2 more, which is -1000"
    check(advice.unkillable, MEMCG, {**reason, "oom__candidates": candidates}, f"raise oom_score_adj of {named}")
    check(advice.unkillable, MEMCG, {**reason, "oom__candidates": candidates[1:2]}, "of c0 (pid 0, 1.0 MiB), which")
    check(advice.unkillable, MEMCG, {**reason, "oom__candidates": candidates[1:4]}, "c2 (pid 2, 1.0 MiB), which")
    check(advice.unkillable, MEMCG, reason, "raise oom_score_adj, which is -1000, or the limit.")
    check(advice.unkillable, MEMCG, {}, None)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"lost__count": 1}, "Look for it in other logs"),
        ({"lost__count": 1200}, "Look for the 1,200 in other logs"),
        ({}, None),
        ({"event": "oom_kill", "lost__count": 1}, None),
    ],
)
def test_kills_without_a_line_are_to_be_found_elsewhere(facts, expected):
    check(advice.lost, {}, {"event": "oom_lost", **facts}, expected)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"sigkill__sender": {"comm": "earlyoom", "pid": 5}}, "earlyoom (pid 5) killed it, at a limit of its own: its"),
        ({"sigkill__sender": {"comm": "oomd"}}, "oomd killed it, at a limit of its own"),
        ({"sigkill__sender": {"comm": "bash", "pid": 5}}, None),
        ({}, None),
        ({"event": "oom_kill", "sigkill__sender": {"comm": "oomd"}}, None),
    ],
)
def test_programs_that_kill_by_limits_of_their_own_are_known(facts, expected):
    check(advice.memory_killer, {}, {"event": "sigkill", **facts}, expected)


def test_a_limit_of_zero_and_a_panic_are_named():
    check(advice.zero_limit, MEMCG, {"oom__memcg": {"limit": 0}}, "The limit is 0")
    check(advice.zero_limit, MEMCG, {"oom__memcg": {"limit": 1}}, None)
    check(advice.panic, GLOBAL, {"oom__reason": "panic"}, "vm.panic_on_oom")
    check(advice.panic, GLOBAL, {"oom__reason": "other"}, None)


ADJ: dict[str, Any] = {"process.oom_score_adj": 500, "oom.points": {"total": 1000, "adj": 500}}
LARGER = [{"pid": 8, "comm": "big", "memory": 11 * MIB}]


@pytest.mark.parametrize(
    ("base", "facts", "expected"),
    [
        (GLOBAL, {}, "oom_score_adj 500 gave it 500 of its 1,000 points: lower that"),
        (GLOBAL, {"oom__points": {"total": 1001, "adj": 500}}, None),
        (GLOBAL, {"oom__points": {"total": 500, "adj": 500}}, "gave it 500 of its 500 points"),
        (GLOBAL, {"oom__points": {"total": 500, "adj": 501}}, None),
        (GLOBAL, {"oom__points": {"total": 500, "adj": 0}}, None),
        (GLOBAL, {"process__oom_score_adj": 0}, None),
        (GLOBAL, {"oom__verdict": "group_member"}, None),
        (GLOBAL, {"k8s__qos": "burstable"}, None),
        (MEMCG, {}, None),
        (
            MEMCG,
            {"oom__points": {"total": 1000, "adj": 1}, "oom__candidates": LARGER},
            "oom_score_adj 500 decided: it added 1 of 1,000 points, and big held more memory, 11.0 MiB. Lower it",
        ),
        (MEMCG, {"oom__points": None}, "it held 10.0 MiB, and at least 90.0 MiB of 100.0 MiB was not its own"),
        (MEMCG, {"oom__points": None, "process__memory": {"anon": 50 * MIB, "file": 0, "shmem": 0}}, None),
        (MEMCG, {"oom__points": None, "process__memory": {"anon": 49 * MIB, "file": 0, "shmem": 0}}, "at least 51.0"),
        (GLOBAL, {"oom__points": None}, None),
    ],
)
def test_an_adjustment_is_the_cause_if_it_outweighed_memory(base, facts, expected):
    check(advice.adj, {**base, **ADJ}, facts, expected)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"oom__weighed": 50}, "50 shared 100.0 MiB, and the one with the most points held 10.0 MiB."),
        ({"oom__weighed": 49}, None),
        ({}, None),
        ({"oom__weighed": 50, "process__memory": {"anon": 11 * MIB, "file": 0, "shmem": 0}}, None),
        ({"oom__weighed": 50, "oom__scope": "global"}, None),
        ({"oom__weighed": 50, "oom__memcg": {"path": "/a"}}, "50 shared 200.0 MiB"),
    ],
)
def test_the_number_of_processes_is_the_cause_from_fifty_on(facts, expected):
    check(advice.many, MEMCG, facts, expected)


def rival(pid: int, size: int, points: int = 5) -> dict[str, Any]:
    return {"pid": pid, "comm": f"c{pid}", "points": points, "memory": size * MIB}


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"oom__candidates": [rival(8, 10)]}, "It shared the limit with c8 (pid 8, 10.0 MiB); at least 90.0 MiB of"),
        ({"oom__candidates": [rival(8, 9)]}, None),
        ({"oom__trigger": {"pid": 8, "comm": "ask"}}, "It shared the limit with ask (pid 8), which asked for more; at"),
        ({"oom__trigger": {"pid": 7, "comm": "ask"}}, None),
        ({"oom__trigger": {"pid": 8}}, None),
        ({"oom__candidates": [rival(8, 10)], "cgroup__path": "/a/b"}, "It shared the limit of /a with c8"),
        ({"oom__candidates": [rival(8, 10)], "oom__scope": "global"}, None),
        ({"oom__candidates": [rival(8, 10)], "process__memory": {"anon": 75 * MIB, "file": 0, "shmem": 0}}, "25.0 MiB"),
        ({"oom__candidates": [rival(8, 10)], "process__memory": {"anon": 76 * MIB, "file": 0, "shmem": 0}}, None),
    ],
)
def test_others_in_the_cgroup_are_named_from_a_quarter_of_the_limit_on(facts, expected):
    check(advice.neighbour, MEMCG, facts, expected)


def test_a_long_path_is_cut():
    path = "/" + "x" * 80
    facts = {"oom__memcg": {"path": path, "usage": 100 * MIB, "limit": 100 * MIB}, "cgroup__path": "/a"}

    check(advice.neighbour, MEMCG, {**facts, "oom__candidates": [rival(8, 10)]}, f"limit of /{'x' * 56}... with c8")


STAT = {"path": "/a", "usage": 100 * MIB, "limit": 100 * MIB, "stat": {"anon": 60 * MIB, "file": 0}}


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, "50.0 MiB of 100.0 MiB is heap of processes that may not be killed"),
        ({"oom__weighed": 2}, None),
        ({"process__memory": {"anon": 11 * MIB}}, None),
        ({"oom__memcg": {"path": "/a", "usage": 100 * MIB, "limit": 100 * MIB}}, None),
        ({"process__memory": {"file": 0}}, None),
    ],
)
def test_heap_of_processes_that_may_not_be_killed_is_stated_from_a_half_on(facts, expected):
    check(advice.exempt, {**MEMCG, "oom.weighed": 1, "oom.memcg": STAT}, facts, expected)


@pytest.mark.parametrize(("size", "is_overcommitted"), [(49, True), (50, False), (51, False)])
def test_from_half_of_the_host_on_the_process_itself_is_the_cause(size, is_overcommitted):
    facts = {"process__memory": {"anon": size * MIB, "file": 0, "shmem": 0}}

    assert bool(advice.overcommitted(case(GLOBAL, **facts))) is is_overcommitted
    assert bool(advice.unlimited(case(GLOBAL, **facts))) is not is_overcommitted
    assert (advice.overcommitted(case(MEMCG, **facts)), advice.unlimited(case(MEMCG, **facts))) == (None, None)


def test_a_full_host_names_the_largest_others():
    candidates = [rival(1, 0, 9), rival(2, 3, 8), rival(3, 5, 7), rival(4, 4, 6), rival(5, 99, 1)]

    said = "of which it held 10.0 MiB (10 %). The largest others: c3 (pid 3, 5.0 MiB), c4 (pid 4, 4.0 MiB), c2 (pid 2,"
    check(advice.overcommitted, GLOBAL, {"oom__candidates": candidates}, said)
    check(advice.overcommitted, GLOBAL, {}, "See what else runs here (systemd-cgtop -m).")


@pytest.mark.parametrize(
    ("qos", "adj", "expected"),
    [
        ("besteffort", 1000, "request what it needs, which was 10.0 MiB here."),
        ("besteffort", 999, None),
        ("burstable", 990, "oom_score_adj 990 means a memory request of about 1.0 % of the node, and it held 10 %"),
        ("burstable", 1, "about 99.9 % of the node"),
        ("burstable", 999, "about 0.1 % of the node"),
        ("burstable", 0, None),
        ("burstable", 1000, None),
        ("guaranteed", 500, None),
        (None, 1000, None),
    ],
)
def test_on_a_full_node_the_request_decides(qos, adj, expected):
    facts = {"k8s__qos": qos, "process__oom_score_adj": adj}

    check(advice.qos, GLOBAL, facts, expected)
    check(advice.qos, MEMCG, facts, None)


@pytest.mark.parametrize(
    ("value", "low", "high", "matches", "expected"),
    [
        (5, -997, -997, False, "Its oom_score_adj is 5, and its QoS class implies -997: the image or the process"),
        (1000, 2, 999, False, "its QoS class implies 2 to 999:"),
        (1, 2, 999, False, "its QoS class implies 2 to 999:"),
        (2, 2, 999, False, None),
        (999, 2, 999, False, None),
        (1000, 2, 999, True, None),
        (1000, 2, 999, None, None),
        (None, 2, 999, False, None),
    ],
)
def test_an_adjustment_that_the_qos_class_does_not_imply_is_named(value, low, high, matches, expected):
    facts = {"process__oom_score_adj": value, "k8s__oom_score_adj": {"min": low, "max": high, "matches": matches}}

    check(advice.changed_adj, MEMCG, facts, expected)
