# SPDX-License-Identifier: Apache-2.0
"""What the scenarios hold against each other: a disagreement of the two sources is noticed, whatever it is about."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
TRACED = json.loads((ROOT / "tests/fixtures/kmsg/traced/vm-6.1-spared.json").read_text())[0]


@pytest.fixture
def kmsg(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "vagrant/scenarios"))
    import _kmsg

    monkeypatch.setattr(_kmsg, "check_form", lambda line, equal: None)
    monkeypatch.setattr(_kmsg, "CPUS", 1)
    return _kmsg


def line(**facts: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"id": "1", "time": "2026-11-27T12:00:00.000000+00:00"}
    for name, fact in {**TRACED, **facts}.items():
        *parents, last = name.replace("__", ".").split(".")
        part = made
        for parent in parents:
            part = part.setdefault(parent, {})
        part[last] = fact
    return made


def wrong(kmsg, told: list[Any], full: list[Any]) -> list[str]:
    found = []
    logged = {one["process"]["tid"]: True for one in full}
    kmsg.check_log(told, full, logged, 0, 0.5, lambda what, got, expected: got != expected and found.append(what))
    return found


def test_two_sources_that_agree_are_not_accused(kmsg):
    assert wrong(kmsg, [line()], [line(fidelity="full")]) == []


@pytest.mark.parametrize("name", TRACED)
def test_any_fact_that_differs_is_named(kmsg, name):
    changed = line(**{name: TRACED[name] + 4096 if isinstance(TRACED[name], int) else "other"})
    tid = line()["process"]["tid"]

    found = wrong(kmsg, [changed], [line()])

    assert f"tid {tid}: {name}" in found or name == "process.tid"
    assert found


@pytest.mark.parametrize(
    ("told", "accused"),
    [
        ([], ["one line each", "kills that were traced, too"]),
        ([line(), line()], ["one line each", "kills that were traced, too"]),
        ([line(time="2026-11-27T12:00:01.000000+00:00")], ["times"]),
    ],
)
def test_kills_that_are_lacking_doubled_or_of_another_time_are_noticed(kmsg, told, accused):
    assert wrong(kmsg, told, [line()]) == accused


def test_a_whole_report_of_which_little_was_understood_is_noticed(kmsg):
    poor = {name: line()[name] for name in ("id", "time", "process")}

    assert wrong(kmsg, [poor], [line()]) == [f"tid {poor['process']['tid']}: 11 facts are enough"]


def test_memory_that_another_victim_gives_back_between_print_and_mark_is_no_disagreement(kmsg):
    before = line(time="2026-11-27T11:59:59.900000+00:00", process__tid=7, process__pid=7)
    now, printed = line(oom__memcg__usage=4096), line(oom__memcg__usage=8192)

    assert wrong(kmsg, [before, printed], [before, now]) == []
    assert wrong(kmsg, [before, now], [before, printed]) != []
    assert wrong(kmsg, [printed], [now]) != []


def test_where_the_kernel_weighed_other_numbers_the_log_is_held_against_those_at_the_mark(kmsg):
    parts = sum(TRACED[f"oom.points.{name}"] for name in ("rss", "swap", "page_tables", "adj"))
    now = line(oom__points__exact=False, oom__points__total=parts + 2)

    assert wrong(kmsg, [line(oom__points__total=parts)], [now]) == []
    assert wrong(kmsg, [line(oom__points__total=parts + 2)], [now]) != []
