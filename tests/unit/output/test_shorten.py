# SPDX-License-Identifier: Apache-2.0
"""What is cut from the facts of a record, and in which order, for any limit and measure."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest

from ooMtrace.output.shorten import RESERVE, shorten, with_truncated

REMOVED_WHOLE = [
    "oom.candidates",
    "oom.memcg.stat",
    "oom.trigger.cgroup",
    "cgroup.v2",
    "process.environment",
    "process.working_directory",
    "process.executable",
    "oom.group",
    "oom.memcg.path",
    "cgroup.path",
    "namespace.addresses",
    "job",
]


def measure(value: Any) -> int:
    return len(json.dumps(value))


def with_facts(names: list[str], length: int = 1000) -> dict[str, Any]:
    """Return nested dictionaries in which each of these dotted names is a text of this length."""
    facts: dict[str, Any] = {"message": "m" * 200}
    for name in names:
        *parents, last = name.split(".")
        part = facts
        for parent in parents:
            part = part.setdefault(parent, {})
        part[last] = "x" * length
    return facts


@pytest.mark.parametrize("count", range(len(REMOVED_WHOLE) + 1))
def test_facts_are_removed_in_the_order_of_the_list_and_no_more_than_needed(count):
    removed, kept = REMOVED_WHOLE[:count], REMOVED_WHOLE[count:]
    facts = with_facts(REMOVED_WHOLE)
    limit = measure(with_facts(kept)) + RESERVE + 500

    assert shorten(facts, limit, measure) == set(removed)

    assert measure(with_truncated(facts, set(removed))) <= limit
    for name in kept:
        *parents, last = name.split(".")
        part = facts
        for parent in parents:
            part = part[parent]
        assert part[last]


def test_facts_that_fit_are_unchanged():
    facts = with_facts(REMOVED_WHOLE)
    before = deepcopy(facts)

    assert shorten(facts, measure(facts) + RESERVE, measure) == set()
    assert facts == before


def test_an_expendable_fact_is_cut_before_the_list_of_cut_facts_costs_another():
    """Without `truncated` the facts would just fit."""
    facts = with_facts(["oom.candidates", "cgroup.v2"], length=150)
    limit = measure(with_facts(["cgroup.v2"], length=150)) + 20

    assert shorten(facts, limit, measure) == {"oom.candidates", "cgroup.v2"}
    assert facts["message"] == "m" * 200


def test_the_longest_text_is_halved_if_no_expendable_fact_is_left():
    facts = {"message": "m" * 1000, "process": {"comm": "c" * 100}}

    assert shorten(facts, 400, measure) == {"message"}
    assert facts["message"] == "m" * 125
    assert facts["process"] == {"comm": "c" * 100}


def test_truncated_lists_earlier_names_once():
    facts = {"truncated": ["process.title", "job"]}

    assert with_truncated(facts, {"job", "cgroup.v2"}) == {"truncated": ["cgroup.v2", "job", "process.title"]}
    assert with_truncated(facts, set()) is facts
