# SPDX-License-Identifier: Apache-2.0
"""Which values are facts: a number that no 64 bits hold is as unknown as none."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from support.probe_events import HOST

from ooMtrace.output.encode import encode
from ooMtrace.record import Executable, Memory, Oom, OomKill, Parent, Process, missing_facts


@pytest.mark.parametrize(
    ("value", "known"),
    [
        (None, False),
        (0, True),
        ("", True),
        (False, True),
        (-(1 << 63), True),
        ((1 << 64) - 1, True),
        (-(1 << 63) - 1, False),
        (1 << 64, False),
    ],
)
def test_a_fact_is_known_unless_it_is_none_or_beyond_64_bits(value, known):
    kill = OomKill(
        id="1", observed="", message="", fidelity="log", host=HOST, oom=Oom(incident="1"), process=Process(comm=value)
    )

    assert json.loads(encode(kill)).get("process") == ({"comm": value} if known else None)
    assert ("process.comm" in missing_facts(kill)) is not known


def test_a_part_is_missing_as_a_whole_if_none_of_its_facts_is_known():
    memory = Memory(anon=1 << 64)
    process = Process(memory=memory, parent=Parent(pid=1), executable=Executable())
    kill = OomKill(id="1", observed="", message="", fidelity="log", host=HOST, oom=Oom(incident="1"), process=process)

    missing = missing_facts(kill)

    assert [name for name in missing if name.startswith(("process.memory", "process.exe"))] == [
        "process.memory",
        "process.executable",
    ]
    assert [name for name in missing if name.startswith("process.parent")] == [
        "process.parent.vpid",
        "process.parent.comm",
    ]
    assert [name for name in missing if name.startswith("oom.memcg")] == []


def test_a_number_beyond_64_bits_is_missing_from_the_line_and_named():
    kill = OomKill(
        id="1",
        observed="",
        message="",
        fidelity="log",
        host=HOST,
        oom=Oom(incident="1"),
        process=Process(pid=1 << 64, threads=3),
    )

    assert json.loads(encode(kill))["process"] == {"threads": 3}
    assert "process.pid" in list(missing_facts(kill))
    assert "process.threads" not in list(missing_facts(kill))


def test_a_fact_that_the_operator_withheld_is_not_called_missing():
    kill = OomKill(id="1", observed="", message="", fidelity="log", host=HOST, oom=Oom(incident="1"), process=Process())

    assert "process.command_args" in list(missing_facts(kill))
    assert "process.command_args" not in list(missing_facts(replace(kill, withheld=("process.command_args",))))
