# SPDX-License-Identifier: Apache-2.0
"""Formats: projections of the line that lose no fact, invent none, and have the types that their readers expect."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.probe_events import kill, lost
from support.recorded_kills import RECORDINGS, lines
from support.sigkill_events import event, records

from ooMtrace import cli, record
from ooMtrace.commands import options
from ooMtrace.commands.formats import outputs_format
from ooMtrace.errors import UsageError
from ooMtrace.output.encode import encode, encode_pretty
from ooMtrace.output.formats import FORMATS, OBJECTS, format_named
from ooMtrace.output.formats.ecs import MOVED
from ooMtrace.output.formats.flat import OBJECT_LISTS
from ooMtrace.output.formats.text import to_text
from ooMtrace.output.lines import Lines
from ooMtrace.output.open import open_outputs
from ooMtrace.output.url import parse_output
from ooMtrace.record.json_schema import json_schema

KILL = kill()
RICH = replace(
    KILL,
    seq=3,
    output_dropped_before=2,
    process=replace(
        KILL.process,
        comm="a\x1bb",
        title="sidekiq 6",
        memory=record.Memory(anon=32 << 20, file=3 << 19, shmem=0),
        oom_score_adj=500,
        command_args=("a", "b c"),
        user=record.User(id=5, name="app"),
        environment={"CI_JOB": "9"},
        executable=record.Executable(path="/usr/bin/ruby"),
    ),
    container=record.Container(id="ab" * 32, runtime="containerd", labels={"app": "x", "app.version": "1"}),
    k8s=record.Kubernetes(
        namespace=record.KubernetesNamespace(name="prod"),
        pod=record.Pod(uid="1-2", name="web-0"),
        workload=record.KubernetesWorkload(kind="Deployment", name="web"),
        qos="burstable",
    ),
    systemd=record.Systemd(unit="x.service", manager="system"),
    message="a\x1b[31mb (pid 100) was killed",
)
RECORDS: list[record.Record] = [KILL, RICH, lost(), *records(event())]

KEYWORD = {"type": "string"}
KEYWORDS = {"type": "array", "items": KEYWORD}
LONG = {"type": "integer"}
DATE = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$"}
ECS = {
    "@timestamp": DATE,
    "message": KEYWORD,
    "ecs.version": KEYWORD,
    "event.id": KEYWORD,
    "event.kind": {"const": "event"},
    "event.category": {"const": ["process"]},
    "event.type": {"type": "array", "items": {"enum": ["end", "info"]}},
    "event.action": KEYWORD,
    "event.module": KEYWORD,
    "event.dataset": KEYWORD,
    "event.severity": LONG,
    "event.sequence": LONG,
    "event.created": DATE,
    "log.level": KEYWORD,
    "host.name": KEYWORD,
    "host.boot.id": KEYWORD,
    "host.os.kernel": KEYWORD,
    "process.pid": LONG,
    "process.vpid": LONG,
    "process.thread.id": LONG,
    "process.name": KEYWORD,
    "process.title": KEYWORD,
    "process.args": KEYWORDS,
    "process.args_count": LONG,
    "process.executable": KEYWORD,
    "process.working_directory": KEYWORD,
    "process.start": DATE,
    "process.parent.pid": LONG,
    "process.parent.name": KEYWORD,
    "process.user.id": KEYWORD,
    "process.user.name": KEYWORD,
    "process.env_vars": KEYWORDS,
    "container.id": KEYWORD,
    "container.name": KEYWORD,
    "container.runtime": KEYWORD,
    "container.image.name": KEYWORD,
    "container.labels": {"type": "object", "propertyNames": {"pattern": r"^[^.]+$"}, "additionalProperties": KEYWORD},
    "orchestrator.type": KEYWORD,
    "orchestrator.namespace": KEYWORD,
    "orchestrator.resource.name": KEYWORD,
    "orchestrator.resource.id": KEYWORD,
    "orchestrator.resource.type": KEYWORD,
    "orchestrator.resource.parent.type": KEYWORD,
    "oomtrace": {"type": "object"},
}
"""Fields and types of the ECS reference, and one object of our own."""


def schema_of(fields: dict[str, Any]) -> dict[str, Any]:
    """Return a JSON Schema that allows these dotted names and no others."""
    tree: dict[str, Any] = {}
    for name, type_ in fields.items():
        part = tree
        *parents, last = name.split(".")
        for parent in parents:
            part = part.setdefault(parent, {"type": "object", "additionalProperties": False, "properties": {}})
            part = part["properties"]
        part[last] = type_
    return {"type": "object", "additionalProperties": False, "properties": tree, "required": ["@timestamp", "ecs"]}


def projected(name: str, record_: record.Record) -> dict[str, Any]:
    return json.loads(format_named(name)(record_))


def test_ecs_documents_have_only_fields_and_types_of_the_schema():
    validate = jsonschema.Draft202012Validator(schema_of(ECS)).validate
    for each in RECORDS:
        validate(projected("ecs", each))
    seen = {name for each in RECORDS for name in flat_names(projected("ecs", each))}
    assert {"process.env_vars", "orchestrator.resource.parent.type", "process.executable"} <= seen


def flat_names(part: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in part.items():
        if isinstance(value, dict) and f"{prefix}{name}" not in ("container.labels", "oomtrace"):
            yield from flat_names(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def test_ecs_has_every_fact_of_the_line_once():
    native, document = json.loads(encode(RICH)), projected("ecs", RICH)
    moved = {old for old, _ in MOVED} | {"event", "severity"}

    def leaves(part: dict[str, Any], prefix: str = "") -> Iterator[str]:
        for name, value in part.items():
            if isinstance(value, dict) and f"{prefix}{name}" not in moved:
                yield from leaves(value, f"{prefix}{name}.")
            else:
                yield f"{prefix}{name}"

    assert {*leaves(document["oomtrace"])} == {*leaves(native)} - moved
    assert document["process"]["user"]["id"] == "5"
    assert document["container"]["labels"] == {"app": "x", "app_version": "1"}
    assert document["event"]["action"] == "oom-kill"
    assert document["event"]["type"] == ["end"]


@pytest.mark.parametrize("name", RECORDINGS)
def test_every_recorded_line_has_every_format(name):
    validate = jsonschema.Draft202012Validator(schema_of(ECS)).validate
    for line in lines(name):
        facts = json.loads(line)
        validate(json.loads(json.dumps(OBJECTS["ecs"](facts))))
        assert json.loads(line) == facts, "the line itself is not changed"
        assert is_flat(OBJECTS["flat"](facts))
        assert to_text(facts).count(b"\n") == 1


def is_flat(part: dict[str, Any]) -> bool:
    return all(
        isinstance(value, (str, int, float, bool))
        or (isinstance(value, list) and all(isinstance(item, str) for item in value))
        for value in part.values()
    )


def test_flat_has_one_level_and_the_same_facts():
    for each in RECORDS:
        flat, native = projected("flat", each), json.loads(encode(each))
        assert is_flat(flat)
        rebuilt: dict[str, Any] = {}
        for name, value in flat.items():
            if name.startswith(("container.labels.", "process.environment.")):
                *parents, last = name.split(".", 2)
            else:
                *parents, last = name.split(".")
            part = rebuilt
            for parent in parents:
                part = part.setdefault(parent, {})
            part[last] = value
        assert rebuilt == native


def test_flat_makes_text_of_lists_of_objects():
    connections = (record.Connection(fd=3, transport="tcp", remote=record.Endpoint(address="10.0.0.1", port=6379)),)
    flat = projected("flat", replace(KILL, process=replace(KILL.process, connections=connections)))

    assert json.loads(flat["process.connections"]) == [
        {"fd": 3, "transport": "tcp", "remote": {"address": "10.0.0.1", "port": 6379}}
    ]


def test_flat_makes_text_of_an_empty_list_of_objects_too():
    flat = projected("flat", replace(KILL, process=replace(KILL.process, connections=())))

    assert flat["process.connections"] == "[]"


def test_flat_knows_every_list_of_objects_in_the_schema():
    def lists(facts: dict[str, Any], prefix: str = "") -> Iterator[str]:
        for name, fact in facts.items():
            yield from lists(fact.get("properties", {}), f"{prefix}{name}.")
            if fact.get("items", {}).get("type") == "object":
                yield f"{prefix}{name}"

    assert {*lists(json_schema()["properties"])} == {*OBJECT_LISTS}


def test_text_is_one_line_without_control_characters():
    text = format_named("text")(RICH).decode()

    assert text == (
        f"{KILL.time} a\\x1b[31mb (pid 100) was killed [rss 33.5 MiB; oom_score_adj 500; user app;"
        " pod prod/web-0; container abababababab; unit x.service; 2 lines before this one are missing here]\n"
    )
    assert format_named("text")(lost()).decode() == f"{lost().observed} {lost().message}\n"


def test_text_states_no_size_that_is_not_known():
    memory = record.Memory(total_vm=1 << 20)
    text = format_named("text")(replace(KILL, process=replace(KILL.process, memory=memory)))

    assert b"rss" not in text


@settings(max_examples=50)
@given(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"])))
def test_no_text_of_a_process_breaks_a_format(comm, message):
    each = replace(
        RICH,
        message=message,
        process=replace(RICH.process, comm=comm, environment={comm: message}),
        container=record.Container(id=comm, labels={comm: message, f"{comm}.{comm}": message}),
    )
    for name in FORMATS:
        line = format_named(name)(each)
        assert line.count(b"\n") == 1
        assert line.endswith(b"\n")
        assert not re.search(rb"[\x00-\x09\x0b-\x1f\x7f]", line)
        if name != "text":
            assert isinstance(json.loads(line), dict)


def test_native_is_the_line_itself_and_pretty_indents_json():
    assert format_named("native")(KILL) == encode(KILL)
    assert format_named("native", pretty=True)(KILL) == encode_pretty(KILL)
    for name in ("ecs", "flat"):
        pretty = format_named(name, pretty=True)(KILL)
        assert pretty.count(b"\n") > 10
        assert json.loads(pretty) == projected(name, KILL)


def test_the_option_knows_the_formats_and_pretty_needs_json():
    assert (*FORMATS, "explain") == options.FORMATS
    for name in FORMATS:
        _, arguments = cli.parse(["--format", name])
        assert outputs_format(arguments)(KILL) == format_named(name)(KILL)
    _, arguments = cli.parse(["--format", "text", "--pretty"])
    with pytest.raises(UsageError, match="--pretty indents JSON"):
        outputs_format(arguments)


def test_an_output_may_have_a_format_of_its_own(tmp_path: Path):
    urls = [parse_output(f"file:{tmp_path}/a#format=text"), parse_output(f"{tmp_path}/b")]
    outputs = open_outputs(urls, print, format_named("flat"))
    outputs.put(KILL)
    outputs.flush()
    outputs.close()

    assert (tmp_path / "a").read_bytes() == format_named("text")(KILL)
    assert (tmp_path / "b").read_bytes() == format_named("flat")(KILL)


def test_a_format_is_made_once_for_all_outputs_that_want_it():
    calls: list[record.Record] = []

    def counted(record_: record.Record) -> bytes:
        calls.append(record_)
        return b""

    made = Lines(KILL)
    made.line(counted)
    made.line(counted)

    assert len(calls) == 1
