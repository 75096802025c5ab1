# SPDX-License-Identifier: Apache-2.0
"""The schema is valid, describes every fact, fits the lines and is what `oomtrace schema` prints."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from importlib import import_module
from typing import Any

import jsonschema
import pytest
from support.probe_events import kill, lost

from ooMtrace import cli, record
from ooMtrace.output.encode import encode
from ooMtrace.record.json_schema import json_schema

SIGKILL_REQUIRED = ("schema", "event", "id", "seq", "time", "observed", "severity", "message", "fidelity")
PARTS = [part for part in vars(record).values() if isinstance(part, type) and is_dataclass(part)]


def objects(schema: dict[str, Any], name: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if schema.get("type") == "array":
        yield from objects(schema["items"], f"{name}[]")
    if "properties" in schema:
        yield name, schema
        for key, part in schema["properties"].items():
            yield from objects(part, f"{name}.{key}".lstrip("."))


def test_the_schema_is_valid_for_draft_2020_12():
    schema = json_schema()

    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["title"] == "oomtrace/1"
    jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("part", PARTS)
def test_every_description_begins_with_a_capital_and_has_no_final_dot(part):
    for fact in fields(part):
        description = fact.metadata["doc"]
        assert description[0].isupper(), fact.name
        assert not description.endswith("."), fact.name


def test_every_class_of_the_record_is_exported():
    files = ("identity", "kill", "oom", "process", "sigkill")
    parts = [part for name in files for part in vars(import_module(f"ooMtrace.record.{name}")).values()]

    assert {part for part in parts if isinstance(part, type) and is_dataclass(part)} == set(PARTS)
    assert {part.__name__ for part in PARTS} <= set(record.__all__)


def test_every_fact_is_in_the_schema_with_its_description():
    described = dict(objects(json_schema()))

    of_any = {
        fact.name
        for event in (record.OomKill, record.OomLost, record.OomNoKill, record.Sigkill)
        for fact in fields(event)
    }
    assert set(described[""]["properties"]) == of_any
    assert set(described["lost"]["properties"]) == {"count", "from", "to"}
    assert set(described["oom.points"]["properties"]) == {fact.name for fact in fields(record.Points)}
    for part in described.values():
        assert all(fact["description"] for fact in part["properties"].values())
    # An Endpoint is described at both ends of a Connection, a User and an Executable of victim and sender; OomKill,
    # OomLost, OomNoKill and Sigkill in one object.
    assert len(described) == len(PARTS)


def test_these_properties_are_required():
    required = {name: part["required"] for name, part in objects(json_schema()) if part["required"]}

    assert required == {
        "": ["schema", "event", "id", "seq", "observed", "severity", "message", "fidelity"],
        "oom": ["incident"],
        "oom.gfp_mask": ["raw"],
        "process.open_files": [
            *("total", "regular", "directory", "device", "pipe", "socket", "anonymous", "tcp", "udp", "unix"),
        ],
        "process.connections[]": ["fd", "transport"],
        "container": ["id"],
        "container.image": ["name"],
        "container.parents[]": ["id"],
        "k8s": ["pod"],
        "k8s.namespace": ["name"],
        "k8s.pod": ["uid"],
        "k8s.node": ["name"],
        "k8s.workload": ["name"],
        "k8s.oom_score_adj": ["min", "max"],
        "scheduler": ["system"],
        "application": ["kind", "id"],
        "job": ["system"],
        "exit": ["kill", "after_us"],
        "lost": ["count", "from", "to"],
        "sigkill": ["incident", "sender"],
        "sigkill.sender.container": ["id"],
    }
    assert [(kind["properties"]["event"]["enum"], kind["required"]) for kind in json_schema()["anyOf"]] == [
        (
            ["oom_kill", "oom_dying", "oom_exit"],
            [*required[""], "derived", "missing", "oom", "process"],
        ),
        (["oom_lost"], [*required[""], "host", "lost"]),
        (["oom_no_kill"], [*required[""], "derived", "missing", "oom"]),
        (["sigkill"], [*SIGKILL_REQUIRED, "derived", "sigkill", "process"]),
    ]


def test_a_loss_is_valid_and_a_kill_without_a_victim_is_not(validate):
    line = json.loads(encode(lost()))
    validate(line)
    assert line["lost"] == {"count": 3, "from": "2023-11-14T22:13:19.000001Z", "to": "2023-11-14T22:13:20.000000Z"}
    for invalid in ({**line, "event": "oom_kill"}, {**line, "lost": {"count": 3}}, {**line, "event": "oom_found"}):
        with pytest.raises(jsonschema.ValidationError):
            validate(invalid)


def test_properties_have_these_types():
    properties = json_schema()["properties"]

    assert properties["seq"]["type"] == "integer"
    assert properties["missing"] == {
        "type": "array",
        "items": {"type": "string"},
        "description": "Names of facts that every kill has, but that could not be read",
    }
    assert properties["event"]["enum"] == ["oom_kill", "oom_dying", "oom_exit", "oom_lost", "oom_no_kill", "sigkill"]
    assert properties["fidelity"]["enum"] == ["full", "reduced", "minimal", "log"]
    oom = properties["oom"]["properties"]
    assert oom["verdict"]["enum"] == ["killed", "group_member", "shared_mm"]
    assert oom["scope"]["enum"] == ["memcg", "global", "cpuset", "mempolicy", "sysrq"]
    assert oom["points"]["properties"]["exact"]["type"] == "boolean"
    assert oom["memcg"]["properties"]["id"]["type"] == "string"
    assert properties["namespace"]["properties"]["net_ns"]["type"] == "string"
    process = properties["process"]["properties"]
    assert process["command_args"] == {
        "type": "array",
        "items": {"type": "string"},
        "description": "Command line arguments, the program name first; absent if the victim has a title",
    }
    assert process["environment"] == {
        "type": "object",
        "additionalProperties": {"type": "string"},
        "description": "Environment variables that --env allows",
    }
    assert process["connections"]["items"]["properties"]["remote"]["properties"]["port"]["type"] == "integer"
    assert process["open_files"]["properties"]["incomplete"]["type"] == "boolean"


def test_a_line_is_valid(validate):
    validate(json.loads(encode(kill())))


def test_a_line_with_all_facts_of_a_process_is_valid(validate):
    process = record.Process(
        pid=100,
        title="worker: 42",
        command_args=("worker", ""),
        executable=record.Executable(path="/bin/worker"),
        working_directory="/",
        open_files=record.OpenFiles(
            total=1, regular=0, directory=0, device=0, pipe=0, socket=1, anonymous=0, tcp=1, udp=0, unix=0
        ),
        connections=(record.Connection(fd=3, transport="tcp", local=record.Endpoint(address="::", port=1)),),
        environment={"QUEUE": "", "": "x"},
    )
    exit_ = record.Exit(kill="12345678-ee6b2800-100", after_us=7, peak_rss=0)

    line = json.loads(encode(kill(event="oom_exit", process=process, exit=exit_)))

    validate(line)
    assert line["process"]["environment"] == {"QUEUE": "", "": "x"}
    assert line["process"]["connections"] == [{"fd": 3, "transport": "tcp", "local": {"address": "::", "port": 1}}]
    assert line["exit"] == {"kill": "12345678-ee6b2800-100", "after_us": 7, "peak_rss": 0}


@pytest.mark.parametrize(
    "broken",
    [
        {"event": "oom"},
        {"seq": "1"},
        {"oom": {"verdict": "killed"}},
        {"process": {"pid": "100"}},
        {"stranger": 1},
        {"process": {"environment": {"QUEUE": 1}}},
        {"process": {"connections": [{"fd": 3}]}},
        {"process": {"open_files": {"total": 3}}},
        {"exit": {"kill": "x"}},
    ],
)
def test_an_invalid_line_is_rejected(validate, broken):
    with pytest.raises(jsonschema.ValidationError):
        validate(json.loads(encode(kill())) | broken)


def test_the_schema_command_prints_it(capfdbinary):
    assert cli.main(["schema"]) == 0

    printed = capfdbinary.readouterr()
    assert json.loads(printed.out) == json_schema()
    assert printed.out.endswith(b"}\n")
    assert printed.err == b""
