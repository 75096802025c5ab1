# SPDX-License-Identifier: Apache-2.0
"""An explanation names the cause, gives the right advice first, and says nothing that the line does not support."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.explained import CAUSES, FIXTURES, FOLDER, RECORDED, changed, line
from support.explained_numbers import foreign_numbers

from ooMtrace.explain.advice import RULES, suggestions
from ooMtrace.explain.case import Case
from ooMtrace.explain.facts import Facts
from ooMtrace.explain.history import MOST, History
from ooMtrace.explain.layout import width
from ooMtrace.explain.story import explain


def lines_of(path: Path) -> list[dict[str, Any]]:
    text = path.read_text()
    return json.loads(text) if text.startswith("[") else [json.loads(row) for row in text.splitlines()]


REAL = [
    *(line(name) for name in CAUSES),
    *(one for path in sorted(FIXTURES.glob("records/*.json")) for one in lines_of(path)),
    *(lines_of(path)[0] for path in sorted(FIXTURES.glob("kmsg/*.json")) if lines_of(path)),
]


@pytest.mark.parametrize("name", CAUSES)
def test_the_text_of_each_cause_is_the_one_that_was_read(name):
    assert explain(line(name)) == (FOLDER / f"{name}.txt").read_text()


@pytest.mark.parametrize(("name", "first"), CAUSES.items())
def test_the_first_suggestion_is_the_one_for_the_cause(name, first):
    found = [rule.name for rule, _ in suggestions(Case(Facts(line(name))))]

    assert found[:1] == ([first] if first else [])
    assert len(found) <= 5


def test_every_rule_has_a_source_and_a_name_of_its_own():
    assert len({rule.name for rule in RULES}) == len(RULES)
    assert all(rule.source for rule in RULES)
    assert {name for rule in RULES for name in rule.unless} <= {rule.name for rule in RULES}


def test_the_documentation_has_every_rule_and_a_text_that_is_current():
    page = (FIXTURES.parents[1] / "docs/explain.md").read_text()
    table = page.partition("## The rules")[2]

    assert {rule.name for rule in RULES} == set(
        re.findall(r"`([a-z-]+)`", "".join(re.findall(r"^\|([^|]*)\|", table, re.M)))
    )
    assert f"```text\n{explain(line('sidekiq'))}```" in page


def test_causes_were_recorded_from_real_kills():
    assert len(RECORDED) >= 14
    assert all(json.loads((FOLDER / f"{name}.json").read_text())["id"] for name in RECORDED)


def paths(part: Any, prefix: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the way to every fact of a line."""
    members = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
    return [path for key, value in members for path in ((*prefix, key), *paths(value, (*prefix, key)))]


def set_fact(whole: Any, path: tuple[Any, ...], value: Any) -> None:
    """Change a fact; DELETE removes it. A way that is gone already is left alone."""
    for key in path[:-1]:
        try:
            whole = whole[key]
        except (KeyError, IndexError, TypeError):
            return
    if isinstance(whole, dict) and value is DELETE:
        whole.pop(path[-1], None)
    elif isinstance(whole, dict) and path[-1] in whole:
        whole[path[-1]] = value


DELETE = object()
ANYTHING = st.one_of(
    st.just(DELETE),
    st.integers(10_000, 1 << 62),
    st.integers(-5, 5),
    st.text(max_size=30),
    st.none(),
    st.booleans(),
    st.floats(),
    st.just([]),
    st.just({}),
    st.just(10**30),
)


@st.composite
def damaged(draw: st.DrawFn, changes: st.SearchStrategy[Any]) -> dict[str, Any]:
    whole = copy.deepcopy(draw(st.sampled_from(REAL)))
    places = paths(whole)
    for path in draw(st.lists(st.sampled_from(places), max_size=12)):
        set_fact(whole, path, draw(changes))
    return whole


BOUNDED = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def check(text: str) -> None:
    rows = text.splitlines()
    assert text.endswith("\n")
    assert len(rows) <= 25
    assert all(width(row) <= 80 for row in rows)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", text)
    assert not re.search(r"\b1[0-9][1-9] %|\b[2-9][0-9]{2,} %", text)


@given(damaged(ANYTHING))
@BOUNDED
def test_any_line_is_explained_within_25_lines_of_80_columns(whole):
    check(explain(whole))


@given(damaged(st.one_of(st.just(DELETE), st.integers(100_003, 1 << 50))))
@BOUNDED
def test_every_number_is_in_the_line_or_follows_from_it_by_a_listed_rule(whole):
    assert foreign_numbers(explain(whole), whole) == []


def test_a_number_from_nowhere_is_noticed():
    whole = line("spike")

    assert foreign_numbers("it held 77.7 MiB", whole) == ["77.7"]
    assert foreign_numbers(explain(whole), changed("spike", {"process.memory.anon": 12345678})) != []


@pytest.mark.parametrize("name", CAUSES)
def test_colour_changes_nothing_but_the_colour(name):
    colored = explain(line(name), color=True)

    assert "\x1b[" in colored
    assert re.sub(r"\x1b\[[0-9;]*m", "", colored) == explain(line(name))


@pytest.mark.parametrize(
    "text",
    ["\x1b[31mred\x07", "a\nKilled: b", "\u202egnp.exe", "\u2028", "\ud7ff\ue000", "\x9b31m", "a\u200bb", "\0" * 500],
)
def test_no_text_of_a_line_controls_the_terminal(text):
    whole = changed("sidekiq", {"process.title": text, "process.comm": text, "host.name": text, "job.name": text})
    whole |= {"cgroup": {"path": "/" + text}, "k8s": {"pod": {"uid": text, "name": text}}}
    shown = explain(whole)

    check(shown)
    assert not set(text) & set("\x1b\x07\u202e\u2028\x9b\u200b\0\ue000") & set(shown)


def test_wide_characters_take_two_columns():
    check(explain(changed("spike", {"process.command_args": ["勘定処理" * 40], "host.name": "é" * 300})))


def test_a_key_that_a_shell_would_act_on_is_quoted():
    whole = changed("sidekiq", {"job.join": "a.b'; rm -rf /:1:"})

    assert "grep '^a\\.b'\"'\"'; rm -rf /:1:'" in explain(whole)


def test_a_key_that_cannot_be_shown_is_in_no_command():
    assert "redis-cli" not in explain(changed("sidekiq", {"job.join": "a\x1b[0m:1:"}))


def test_points_that_do_not_add_up_are_not_shown_as_a_sum():
    text = explain(changed("spike", {"oom.points.total": 20000}))

    assert "20,000 points =" not in text
    assert "20,000 points; parts: " in text


def test_the_adjustment_that_spares_the_victim_is_the_first_that_changes_the_ranking():
    whole = line("full")
    unit = whole["oom"]["limit_bytes"] // 4096 // 1000
    found = re.search(r"at oom_score_adj (-?[0-9]+) or less \(not 500\)", explain(whole))
    assert found
    spared = int(found[1])
    points = whole["oom"]["points"]["total"] - 500 * unit

    assert points + spared * unit < 16900 <= points + (spared + 1) * unit


def test_what_the_same_cause_has_killed_before_is_counted():
    history = History()
    first, second = history.add(line("spike")), history.add(line("repeated"))

    assert first == ""
    assert second.startswith("1 earlier kill of this cause in these lines since 2026-11-28 ")
    assert "earlier kill" in explain(line("spike"), earlier=second)


def test_the_causes_that_are_remembered_are_limited():
    history = History()
    for number in range(MOST + 50):
        history.add({"event": "oom_kill", "oom": {"scope": "memcg", "memcg": {"path": f"/{number}"}}})

    assert len(history._kills) == MOST
