# SPDX-License-Identifier: Apache-2.0
"""The scenarios' comparison of the two sources: a difference in any fact is noticed."""

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
    import _tolerances

    monkeypatch.setattr(_kmsg, "check_form", lambda line, equal: None)
    monkeypatch.setattr(_tolerances, "CPUS", 1)
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


def wrong(kmsg, from_log: list[Any], full: list[Any]) -> list[str]:
    found: list[str] = []
    logged = {line["process"]["tid"]: True for line in full}

    def equal(what: str, got: object, expected: object) -> None:
        if got != expected:
            found.append(what)

    kmsg.check_log(from_log, full, logged, 0, 0.5, equal)
    return found


@pytest.mark.parametrize(("threads", "pages", "differs"), [(1, 1, True), (2, 64, False), (2, 65, True)])
def test_another_thread_may_be_charging_while_the_counter_is_read(kmsg, threads, pages, differs):
    full = line(process__threads=threads, oom__memcg__usage=(25 << 20) + (pages << 12))

    found = wrong(kmsg, [line(oom__memcg__usage=25 << 20)], [full])
    assert bool(found) is differs


def test_two_sources_that_agree_have_no_difference(kmsg):
    assert wrong(kmsg, [line()], [line(fidelity="full")]) == []


@pytest.mark.parametrize("name", TRACED)
def test_any_fact_that_differs_is_named(kmsg, name):
    changed = line(**{name: TRACED[name] + 4096 if isinstance(TRACED[name], int) else "other"})
    tid = line()["process"]["tid"]

    found = wrong(kmsg, [changed], [line()])

    assert f"tid {tid}: {name}" in found or name == "process.tid"
    assert found


@pytest.mark.parametrize(
    ("from_log", "differences"),
    [
        ([], ["one line each", "kills that were traced, too"]),
        ([line(), line()], ["one line each", "kills that were traced, too"]),
        ([line(time="2026-11-27T12:00:01.000000+00:00")], ["times"]),
    ],
)
def test_absent_duplicate_and_differently_dated_kills_are_noticed(kmsg, from_log, differences):
    assert wrong(kmsg, from_log, [line()]) == differences


def test_a_full_report_with_few_facts_is_noticed(kmsg):
    poor = {name: line()[name] for name in ("id", "time", "process")}

    assert wrong(kmsg, [poor], [line()]) == [f"tid {poor['process']['tid']}: 11 facts are enough"]


def test_memory_that_another_victim_frees_between_print_and_probe_is_no_difference(kmsg):
    before = line(time="2026-11-27T11:59:59.900000+00:00", process__tid=7, process__pid=7)
    now, printed = line(oom__memcg__usage=4096), line(oom__memcg__usage=8192)

    assert wrong(kmsg, [before, printed], [before, now]) == []
    assert wrong(kmsg, [before, now], [before, printed]) != []
    assert wrong(kmsg, [printed], [now]) != []


@pytest.mark.parametrize(("seconds", "differs"), [("00.500000", False), ("02.000000", True)])
def test_pages_that_others_reclaim_while_a_report_is_printed_are_no_difference(kmsg, seconds, differs):
    other = line(time=f"2026-11-27T12:00:{seconds}+00:00", process__tid=7, process__pid=7)
    rss = TRACED["oom.points.rss"]
    now, printed = line(oom__points__rss=rss), line(oom__points__rss=rss + 2)

    assert bool(wrong(kmsg, [printed, other], [now, other])) is differs
    assert wrong(kmsg, [line(oom__points__rss=rss + 65), other], [now, other]) != []


def test_where_the_kernels_total_differs_the_log_has_that_or_the_sum_of_the_parts(kmsg):
    parts = sum(TRACED[f"oom.points.{name}"] for name in ("rss", "swap", "page_tables", "adj"))
    now = line(oom__points__exact=False, oom__points__total=parts + 2)

    rss = TRACED["oom.points.rss"]

    assert wrong(kmsg, [line(oom__points__total=parts)], [now]) == []
    assert wrong(kmsg, [line(oom__points__total=parts + 2, oom__points__rss=rss + 2)], [now]) == []
    assert wrong(kmsg, [line(oom__points__total=parts + 1)], [now]) != []
    assert wrong(kmsg, [line(oom__points__total=parts + 2, oom__points__rss=rss + 1)], [now]) != []
    assert wrong(kmsg, [line(oom__points__total=parts + 2)], [line(oom__points__total=parts)]) != []
