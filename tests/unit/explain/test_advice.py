# SPDX-License-Identifier: Apache-2.0
"""Suggestions in their order: at most five, none that another says better, and their sources."""

from __future__ import annotations

import pytest
from support.explained import MIB
from support.explained_text import MEMCG, case, joined

from ooMtrace.explain.advice import MOST, RULES, suggestions, what_to_do
from ooMtrace.explain.layout import Block, fit

BUSY = {
    "process.memory": {"anon": 90 * MIB, "file": 0, "shmem": 0},
    "process.title": "sidekiq 7 app [1 of 5 busy]",
    "process.threads": 5,
    "process.oom_score_adj": 5,
    "time": "2026-11-28T09:00:00Z",
    "process.creation.time": "2026-11-28T08:59:59Z",
    "job.system": "sidekiq",
    "oom.group.size": 3,
    "systemd": {"oom_policy": "stop", "stops_unit": True},
    "oom.memcg": {"usage": 100 * MIB, "limit": 100 * MIB, "version": 2},
    "oom.limit_bytes": 100 * MIB,
}
"""A line to which seven rules fit."""


def names(**facts):
    return [rule.name for rule, _ in suggestions(case({**MEMCG, **BUSY}, **facts))]


def test_at_most_five_are_made_the_most_specific_first():
    fitting = [rule.name for rule in RULES if rule.suggest(case({**MEMCG, **BUSY}))]

    assert names() == ["spike", "sidekiq-arenas", "sidekiq-job", "too-small", "unit-stopped"]
    assert fitting == [*names(), "group", "no-swap"]


def test_what_another_rule_says_better_is_left_out():
    environment = {"process__environment": {"GOMEMLIMIT": "100MiB"}}

    assert {"spike", "too-small"} <= set(names())
    assert {"spike", "too-small"}.isdisjoint(names(**environment))
    assert "go-limit" in names(**environment)


@pytest.mark.parametrize("event", ["oom_dying", "oom_exit"])
def test_nothing_is_suggested_for_what_was_not_killed_now(event):
    assert names(event=event) == []
    assert what_to_do(case({**MEMCG, **BUSY}, event=event)) == []


@pytest.mark.parametrize(
    ("path", "is_demo"),
    [("/x/oomtrace-demo-1", True), ("x/oomtrace-demo-1", False), ("/oomtrace-demonstration", False)],
)
def test_the_demo_is_known_by_the_path_of_its_cgroup(path, is_demo):
    for facts in ({"oom__memcg": {"path": path}}, {"oom__memcg": None, "cgroup__path": path}):
        shown = joined(what_to_do(case({**MEMCG, **BUSY}, **facts)))
        assert (shown == "Nothing to do: this was the demo of oomtrace.") is is_demo


def test_each_suggestion_has_a_number_and_its_source():
    heading, *found = what_to_do(case({**MEMCG, **BUSY}))

    assert heading.lines == ("What to do",)
    assert [block.lines[0][:4] for block in found] == [f"  {number} " for number in range(1, len(found) + 1)]
    assert [joined([block]).rpartition(" [")[2] for block in found][:3] == [
        "cgroup-v2.rst]",
        "Sidekiq wiki, Memory]",
        "Sidekiq wiki, Reliability]",
    ]
    assert len(found) <= MOST


@pytest.mark.parametrize(("system", "source"), [("puma", "[Puma, README]"), ("gunicorn", "[Gunicorn, Settings]")])
def test_advice_about_workers_has_the_documentation_of_their_system(system, source):
    assert source in joined(what_to_do(case({**MEMCG, **BUSY}, job__system=system)))


def test_advice_about_their_number_has_it_too():
    candidates = [{"pid": pid, "comm": "worker", "points": 1, "memory": 90 * MIB} for pid in range(20, 24)]
    many = {"process.memory": {"anon": 40 * MIB, "file": 0, "shmem": 0}, "oom.candidates": candidates}
    shown = joined(what_to_do(case({**MEMCG, **many}, job__system="gunicorn")))

    assert shown.startswith("What to do 1 At least 5 processes named worker")
    assert "[Gunicorn, Settings]" in shown


def test_if_not_all_fits_the_last_suggestions_are_left_out():
    facts = [Block("text", ("fact",), 4)] * 10
    heading, *found = what_to_do(case({**MEMCG, **BUSY}))
    for number in range(len(found) + 1):
        free = 1 + len(facts) + sum(len(block.lines) for block in found[:number])
        shown = [block for block in fit([*facts, heading, *found], free) if block.kind == "advice"]
        assert shown[:number] == found[:number]

    assert fit([*facts, heading, *found], 1 + len(found[0].lines)) == [heading, found[0]]


def test_nothing_fits_and_nothing_is_said():
    assert what_to_do(case({})) == []
