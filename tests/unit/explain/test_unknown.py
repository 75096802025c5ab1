# SPDX-License-Identifier: Apache-2.0
"""What is not known is named, with the reason that fits the level; what was withheld or cut is named as that."""

from __future__ import annotations

import pytest
from support.explained_text import MEMCG, case, joined

from ooMtrace.explain.layout import COLUMNS
from ooMtrace.explain.unknown import NAMES, REASONS, not_known
from ooMtrace.record.json_schema import json_schema


def shown(**facts):
    return joined(not_known(case(MEMCG, **facts)))


@pytest.mark.parametrize(
    ("fidelity", "missing", "expected"),
    [
        ("full", ["process.creation"], "not known age: could not be read"),
        ("reduced", ["process.creation"], "not known age: could not be read, or needs level full"),
        ("reduced", ["oom.order"], "not known order: needs kprobes or fentry"),
        ("reduced", ["oom.order", "process.creation"], "not known order, age: could not be read, or needs level full"),
        ("reduced", ["oom.order", "process.other"], "not known order: needs kprobes or fentry"),
        ("reduced", ["oom.constraint"], "not known constraint, ranking: needs kprobes or fentry"),
        ("minimal", ["oom.order"], "not known order: not available at level minimal"),
        ("log", ["host", "host.name"], "not known host: not in the kernel log"),
        (None, ["time"], "not known time: could not be read"),
        ("full", ["process.other"], ""),
        ("full", [], ""),
    ],
)
def test_what_is_missing_is_named_with_the_reason(fidelity, missing, expected):
    assert shown(fidelity=fidelity, missing=missing) == expected


@pytest.mark.parametrize("name", NAMES)
def test_each_name_is_of_a_fact_that_a_line_may_have(name):
    part = json_schema()
    for key in name.split("."):
        assert key in part["properties"]
        part = part["properties"][key]


def test_a_ranking_that_the_line_has_is_not_missing():
    assert "ranking" not in shown(missing=["oom.constraint"], oom__candidates=[])


@pytest.mark.parametrize("level", REASONS)
def test_as_many_names_are_stated_as_fit_into_two_lines(level):
    (block,) = not_known(case(MEMCG, fidelity=level, missing=list(NAMES)))

    assert len(block.lines) == 2
    assert all(len(row) <= COLUMNS for row in block.lines)
    assert " and more: " in joined([block])
    assert not joined([block]).endswith("...")


def test_what_the_operator_withheld_is_stated_as_that():
    said = "not known title and arguments: left out at the operator's request (--cmdline none)"

    assert shown(withheld=["process.command_args"]) == said


def test_what_was_cut_is_named_at_most_three_times():
    cut = ["process.command_args", "process.open_files", "a\x1b", "cgroup"]

    assert shown(truncated=cut) == "not known in part, because of a size limit: arguments, open files, a\\x1b"
    assert shown(truncated=[]) == ""
