# SPDX-License-Identifier: Apache-2.0
"""Kills that a real kernel reported, and the lines that they give.

tests/fixtures/records: NAME-0.bin, NAME-1.bin ..., recorded on Linux 6.18 with cgroup version 1 by
tests/fixtures/record.py, and NAME.json, the expected lines. tests/fixtures/kernel.json: the kernel and the clocks.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from ooMtrace import record
from ooMtrace.assemble.assembler import Assembler
from ooMtrace.events import ProbeEvent, RepeatKill
from ooMtrace.kernel.snapshot import HostSnapshot
from ooMtrace.output.encode import encode
from ooMtrace.probe.decode import decode
from ooMtrace.settings import Level

FIXTURES = Path(__file__).parents[1] / "fixtures"

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


def assembled(events: list[ProbeEvent], *, level: Level = "reduced", **settings: Any) -> Iterator[bytes]:
    """Yield the lines; every event is read when it was sent."""
    # not before it is asked for: record.py writes it first
    kernel: dict[str, Any] = json.loads((FIXTURES / "kernel.json").read_text())
    host = record.Host(name="vm", boot_id="6b1f0c52-3a77-4a11-9c38-0d7f5d3f9e21", kernel=kernel["release"])
    symbols = {name: (start, end) for name, (start, end) in kernel["symbols"].items()}
    now = HostSnapshot(**kernel["now"])
    assembler = Assembler(host, symbols, level, **settings)
    parts = [event for event in events if not isinstance(event, RepeatKill)]
    kills = [kill for event in parts for kill in assembler.add(event, at(now, event.ktime))]
    kills += assembler.due(1 << 63)
    for seq, kill in enumerate(kills, 1):
        yield encode(replace(kill, seq=seq, missing=tuple(record.missing_facts(kill))))


def at(now: HostSnapshot, ktime: int) -> HostSnapshot:
    passed = ktime - now.monotonic
    return replace(now, realtime=now.realtime + passed, monotonic=ktime, boottime=now.boottime + passed)


def lines(name: str) -> Iterator[bytes]:
    return assembled(recorded_events(name), **RECORDINGS[name])
