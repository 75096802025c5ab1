# SPDX-License-Identifier: Apache-2.0
"""Events that a real kernel sent give exactly the expected lines."""

from __future__ import annotations

import json

import pytest
from support.recorded_kills import FIXTURES, RECORDINGS, assembled, lines, recorded_events

from ooMtrace.events import Context, Exit, VictimEvent


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_recorded_kill_gives_exactly_this_line(name, validate):
    expected = (FIXTURES / f"records/{name}.json").read_bytes()

    found = b"".join(lines(name))

    assert found == expected
    for line in found.splitlines():
        validate(json.loads(line))


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("self", [VictimEvent, Context]),
        ("sharer", [VictimEvent, VictimEvent, Context, Context]),
        ("dying", [VictimEvent]),
        ("context", [VictimEvent, Context]),
        ("lifecycle", [VictimEvent, Context, Exit]),
        ("env", [VictimEvent, Context]),
        ("self-minimal", [VictimEvent]),
    ],
)
def test_a_recording_contains_these_events(name, kinds):
    assert sorted(type(event).__name__ for event in recorded_events(name)) == sorted(kind.__name__ for kind in kinds)


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("self", ["hog", "256"]),
        ("hostile", ["hog", "256", "", "\x1b[31m\x9b-\\xff", '"\\\n\t', ""]),
        ("context", ["hog", "256"]),
    ],
)
def test_without_context_the_arguments_are_those_at_exec_and_derived(name, args, validate):
    (line,) = map(json.loads, assembled([event for event in recorded_events(name) if isinstance(event, VictimEvent)]))

    validate(line)
    assert line["process"]["command_args"] == ["/tmp/oomtrace-fixtures/victim", *args]
    assert line["derived"][-1] == "process.command_args"
    assert line["missing"][-4:] == [
        *("process.executable", "process.working_directory", "process.open_files", "process.connections")
    ]


def test_every_fixture_is_used():
    stems = {path.stem.rstrip("0123456789").rstrip("-") for path in FIXTURES.glob("records/*.bin")}

    assert stems == set(RECORDINGS) == {path.stem for path in FIXTURES.glob("records/*.json")}
