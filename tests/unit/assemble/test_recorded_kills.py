# SPDX-License-Identifier: Apache-2.0
"""Events that a real kernel sent give exactly the expected lines.

tests/fixtures/records: NAME-0.bin, NAME-1.bin ..., recorded on Linux 6.18 with cgroup version 1 by
tests/fixtures/record.py, and NAME.json, the expected lines.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ooMtrace import record
from ooMtrace.assemble.assembler import Assembler
from ooMtrace.events import Context, Exit, ProbeEvent, VictimEvent
from ooMtrace.kernel.snapshot import HostSnapshot
from ooMtrace.output.encode import encode
from ooMtrace.probe.decode import decode
from ooMtrace.settings import Level

FIXTURES = Path(__file__).parents[2] / "fixtures"
KERNEL: dict[str, Any] = json.loads((FIXTURES / "kernel.json").read_text())
HOST = record.Host(name="vm", boot_id="6b1f0c52-3a77-4a11-9c38-0d7f5d3f9e21", kernel=KERNEL["release"])
SYMBOLS = {name: (start, end) for name, (start, end) in KERNEL["symbols"].items()}
NOW = HostSnapshot(**KERNEL["now"])

RECORDINGS: dict[str, dict[str, Any]] = {
    "self": {},
    "nested": {},
    "sharer": {},
    "hostile": {},
    "dying": {"all": True},
    "context": {},
    "lifecycle": {"lifecycle": True},
    "env": {"env": ("QUEUE", "CI_*", "ABSENT")},
    "self-minimal": {"level": "minimal"},
}
"""Recorded kills, and the level and settings of the assembler for each."""


def recorded_events(name: str) -> list[ProbeEvent]:
    return [decode(path.read_bytes()) for path in sorted(FIXTURES.glob(f"records/{name}-[0-9].bin"))]


def at(ktime: int) -> HostSnapshot:
    passed = ktime - NOW.monotonic
    return replace(NOW, realtime=NOW.realtime + passed, monotonic=ktime, boottime=NOW.boottime + passed)


def assembled(events: list[ProbeEvent], *, level: Level = "reduced", **settings: Any) -> Iterator[bytes]:
    """Yield the lines; every event is read when it was sent."""
    assembler = Assembler(HOST, SYMBOLS, level, **settings)
    kills = [kill for event in events for kill in assembler.add(event, at(event.ktime))]
    kills += assembler.due(1 << 63)
    for seq, kill in enumerate(kills, 1):
        yield encode(replace(kill, seq=seq, missing=tuple(record.missing_facts(kill))))


def lines(name: str) -> Iterator[bytes]:
    return assembled(recorded_events(name), **RECORDINGS[name])


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
