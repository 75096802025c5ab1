# SPDX-License-Identifier: Apache-2.0
"""Records as a real kernel sent them, carried to the very line.

tests/fixtures/records: NAME.bin or NAME-0.bin, NAME-1.bin ..., recorded on Linux 6.18 with cgroup version 1, and
NAME.json, the lines expected of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ooMtrace import record
from ooMtrace.assemble import Assembler
from ooMtrace.encode import encode
from ooMtrace.kernel.now import Now
from ooMtrace.probe.decode import decode

FIXTURES = Path(__file__).parent.parent / "fixtures/records"
HOST = record.Host(name="vm", boot_id="6b1f0c52-3a77-4a11-9c38-0d7f5d3f9e21", kernel="6.18.44")
SYMBOLS = {
    "oom_kill_process": (18446744071584707344, 18446744071584707744),
    "oom_kill_memcg_member": (18446744071584707760, 18446744071584707936),
    "mem_cgroup_out_of_memory": (18446744071585708720, 18446744071585708992),
}
NOW = Now(
    realtime=1795477897373243908,
    monotonic=4605000000000,
    boottime=4605000000000,
    page_size=4096,
    ram=6171023,
    swap=0,
    swappiness=60,
    nodes=1,
)

SOURCES: dict[str, record.Source] = {
    "self": "victim",
    "nested": "victim",
    "sharer": "victim",
    "hostile": "victim",
    "dying": "victim",
    "self-record": "record",
}


def lines(name: str, source: record.Source) -> Iterator[bytes]:
    assembler = Assembler(HOST, SYMBOLS, source, dying=True)
    files = sorted(FIXTURES.glob(f"{name}.bin")) or sorted(FIXTURES.glob(f"{name}-[0-9].bin"))
    kills = [kill for file in files for kill in assembler.add(decode(file.read_bytes()), NOW)]
    kills += assembler.due(1 << 63)
    for number, kill in enumerate(kills, 1):
        yield encode(replace(kill, seq=number, missing=tuple(record.missing(kill))))


@pytest.mark.parametrize("name", SOURCES)
def test_a_recorded_kill_gives_exactly_this_line(name, validate):
    expected = (FIXTURES / f"{name}.json").read_bytes()

    found = b"".join(lines(name, SOURCES[name]))

    assert found == expected
    for line in found.splitlines():
        validate(json.loads(line))


def test_every_fixture_is_used():
    stems = {path.stem.rstrip("0123456789").rstrip("-") for path in FIXTURES.glob("*.bin")}

    assert stems == set(SOURCES) == {path.stem for path in FIXTURES.glob("*.json")}
