# SPDX-License-Identifier: Apache-2.0
"""What a line costs, counted in Python calls: these depend on the code alone, and not on the machine or its load."""

from __future__ import annotations

import pytest
from support.assembler_stream import BOTH_LEVELS, Stream, group_kill
from support.line_cost import lines, python_calls, storm, system_calls
from support.recorded_kills import RECORDINGS

from ooMtrace.assemble.incident import MAX_INCIDENTS
from ooMtrace.kernel import snapshot

CALLS = 1_200
"""Of a line in a storm, from the perf record to the bytes; 400 to 900 when this was written."""

SYSTEM_CALLS = 3
"""The same; 1 when this was written. A recorded victim lacks the files in /proc that are read of a live one."""


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_line_of_a_storm_takes_a_limited_number_of_python_calls(monkeypatch, name):
    monkeypatch.setattr(snapshot, "SIZES_NS", 1 << 62)  # how often they are read depends on the machine's speed
    few, many = storm(name, 30), storm(name, MAX_INCIDENTS)
    count = len(lines(name, many))  # also fills the caches

    # A look-up in another thread is left out while an earlier one still runs.
    calls = min(python_calls(lambda: lines(name, many)) for _ in range(3))

    assert count >= MAX_INCIDENTS
    assert calls / count < CALLS
    # The rest is what setting up takes: more incidents do not make a line dearer.
    assert calls / MAX_INCIDENTS < 1.1 * max(python_calls(lambda: lines(name, few)) for _ in range(3)) / 30


def test_system_calls_are_counted_by_their_names(tmp_path):
    def work() -> None:
        (tmp_path / "file").write_text("text")
        assert (tmp_path / "file").stat().st_size == 4

    calls = system_calls(work)

    assert (calls["open"], calls["write"], calls["stat"]) == (1, 1, 1)


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_line_of_a_storm_takes_a_limited_number_of_system_calls(monkeypatch, name):
    monkeypatch.setattr(snapshot, "SIZES_NS", 1 << 62)
    batches = storm(name, MAX_INCIDENTS)
    count = len(lines(name, batches))

    calls = system_calls(lambda: lines(name, batches))

    assert calls.total() / count < SYSTEM_CALLS, calls


@BOTH_LEVELS
def test_the_calls_for_a_group_kill_grow_with_its_members_and_not_faster(level_, decision_, incident):
    def killed(members: int) -> int:
        stream = Stream(level_)
        events = group_kill(decision_, *range(100, 100 + members))
        calls = python_calls(lambda: stream.add(*events).advance())
        assert len(stream.kills) == members
        assert {kill.oom.incident for kill in stream.kills} == {incident}
        return calls

    assert killed(400) < 5 * killed(100)
