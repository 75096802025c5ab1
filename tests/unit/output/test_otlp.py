# SPDX-License-Identifier: Apache-2.0
"""The format otlp: LogsData as the official protobuf package reads it, with every fact of the line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, LogsData
from support.explained import POD, changed, line
from support.probe_events import kill, lost
from support.recorded_kills import RECORDINGS, lines
from support.sigkill_events import event, records

from ooMtrace import __version__, record
from ooMtrace.output.encode import encode
from ooMtrace.output.formats import format_named
from ooMtrace.output.formats.flat import leaves
from ooMtrace.output.formats.otlp import CONVENTIONS, PREFIXES, to_logs_data
from ooMtrace.output.lines import Lines
from ooMtrace.output.otlp import export_request, log_record

KILL = kill()
NO_KILL = record.OomNoKill(
    **{
        fact.name: getattr(KILL, fact.name)
        for fact in fields(record.OomNoKill)
        if fact.name not in ("schema", "event", "severity", "fidelity")
    }
)
RECORDS: list[record.Record] = [KILL, replace(KILL, event="oom_dying", severity="INFO"), lost(), NO_KILL]
RECORDS += records(event())


def logs_data(line: bytes) -> LogsData:
    return json_format.Parse(line, LogsData())


def only_record(line: bytes) -> tuple[dict[str, Any], LogRecord]:
    """Return the attributes of the resource, and the only log record."""
    (logs,) = logs_data(line).resource_logs
    (scope_logs,) = logs.scope_logs
    assert (scope_logs.scope.name, scope_logs.scope.version) == ("oomtrace", __version__)
    (log,) = scope_logs.log_records
    return {each.key: plain(each.value) for each in logs.resource.attributes}, log


def plain(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    assert kind is not None, "a value without a type is no value"
    return [plain(item) for item in value.array_value.values] if kind == "array_value" else getattr(value, kind)


def attributes(log: LogRecord) -> dict[str, Any]:
    names = [each.key for each in log.attributes]
    assert len(names) == len(set(names))
    return {each.key: plain(each.value) for each in log.attributes}


def name_in_otlp(name: str) -> str:
    for prefix, replacement in PREFIXES.items():
        if name.startswith(prefix):
            return name.replace(prefix, replacement, 1)
    return CONVENTIONS.get(name, f"oomtrace.{name}")


def expected(facts: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in leaves(facts, ""):
        if name not in ("time", "observed", "severity", "message", "event", "host.name"):
            yield name_in_otlp(name), value


@pytest.mark.parametrize("each", RECORDS, ids=lambda each: each.event)
def test_a_line_of_every_event_is_logs_data_with_every_fact(each):
    line = format_named("otlp")(each)
    host, log = only_record(line)
    facts = json.loads(encode(each))

    assert line.count(b"\n") == 1
    assert attributes(log) == dict(expected(facts))
    assert host == {
        "service.name": "oomtrace",
        "service.version": __version__,
        "os.type": "linux",
        "host.name": "host",
    }
    assert log.event_name == f"oomtrace.{each.event}"
    assert plain(log.body) == each.message
    assert log.severity_text == facts["severity"]
    assert log.observed_time_unix_nano % 1000 == 0 < log.observed_time_unix_nano
    assert bool(log.time_unix_nano) == ("time" in facts)


def test_facts_that_semantic_conventions_name_have_these_names():
    facts = line("too-small") | POD
    facts["container"]["name"] = "k8s_worker_web"
    facts["k8s"]["node"] = {"name": "node-1"}
    facts["process"] |= {
        "pid": 4466,
        "vpid": 7,
        "title": "ruby app.rb",
        "executable": {"path": "/usr/bin/ruby"},
        "working_directory": "/srv",
        "creation": {"time": "2026-01-01T00:00:00.000000Z"},
        "user": {"id": 1000, "name": "app"},
        "parent": {"pid": 4400, "comm": "sh"},
        "environment": {"RACK_ENV": "production"},
    }
    _, log = only_record(json.dumps(to_logs_data(facts)).encode())

    names = {
        "process.pid": 4466,
        "process.vpid": 7,
        "process.title": "ruby app.rb",
        "process.executable.path": "/usr/bin/ruby",
        "process.working_directory": "/srv",
        "process.creation.time": "2026-01-01T00:00:00.000000Z",
        "process.user.id": 1000,
        "process.owner": "app",
        "process.parent_pid": 4400,
        "process.environment_variable.RACK_ENV": "production",
        "container.id": "72e915bf" * 8,
        "container.name": "k8s_worker_web",
        "container.image.name": "registry.example/shop/web:41",
        "container.runtime.name": "containerd",
        "k8s.namespace.name": "prod",
        "k8s.pod.name": "web-7d9f8b6c5d-abcde",
        "k8s.pod.uid": "6f1b2c3d-0000-4000-8000-000000000001",
        "k8s.container.name": "worker",
        "k8s.container.restart_count": 4,
        "k8s.deployment.name": "web",
        "k8s.node.name": "node-1",
    }
    found = attributes(log)
    assert {name: found.get(name) for name in names} == names


def test_a_workload_of_a_kind_that_conventions_do_not_name_has_its_own_names():
    facts = line("too-small") | {"k8s": {**POD["k8s"], "workload": {"kind": "Rollout", "name": "web"}}}
    _, log = only_record(json.dumps(to_logs_data(facts)).encode())

    assert {name: value for name, value in attributes(log).items() if value in ("web", "Rollout")} == {
        "oomtrace.k8s.workload.kind": "Rollout",
        "oomtrace.k8s.workload.name": "web",
    }


@pytest.mark.parametrize(
    ("severity", "scope", "found"),
    [
        ("ERROR", "memcg", ("ERROR", 17)),
        ("ERROR", "cpuset", ("ERROR", 17)),
        ("ERROR", "global", ("FATAL", 21)),
        ("INFO", "global", ("INFO", 9)),
        ("WARN", "global", ("WARN", 13)),
    ],
)
def test_only_a_kill_because_the_host_ran_out_of_memory_is_fatal(severity, scope, found):
    facts = changed("too-small", {"severity": severity, "oom.scope": scope})
    _, log = only_record(json.dumps(to_logs_data(facts)).encode())

    assert (log.severity_text, log.severity_number) == found


@pytest.mark.parametrize("name", RECORDINGS)
def test_every_recorded_line_is_logs_data(name):
    for each in lines(name):
        facts = json.loads(each)
        _, log = only_record(json.dumps(to_logs_data(facts)).encode())
        assert attributes(log) == dict(expected(facts))


def test_the_format_and_the_request_of_the_output_are_the_same():
    assert json.loads(format_named("otlp")(KILL)) == json.loads(export_request([log_record(Lines(KILL))]))


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00.000000Z", "1969-12-31T23:59:59.999999Z", "9999-12-31T23:59:59Z"])
def test_a_time_that_otlp_cannot_express_is_an_attribute(time):
    _, log = only_record(format_named("otlp")(replace(KILL, time=time)))

    assert log.time_unix_nano == 0
    assert attributes(log)["oomtrace.time"] == time


@pytest.mark.parametrize(
    ("time", "nanoseconds"), [("1970-01-01T00:00:00.000001Z", 1000), ("2554-07-21T23:34:33.709551Z", 2**64 - 616)]
)
def test_the_first_and_the_last_time_of_otlp_are_exact(time, nanoseconds):
    _, log = only_record(format_named("otlp")(replace(KILL, time=time)))

    assert log.time_unix_nano == nanoseconds
    assert "oomtrace.time" not in attributes(log)


@settings(max_examples=50, deadline=None)
@given(st.integers(-(1 << 63), (1 << 64) - 1), st.text(st.characters(exclude_categories=["Cs"])))
def test_any_number_and_any_text_is_kept(number, text):
    each = replace(KILL, process=replace(KILL.process, comm=text, pid=number, command_args=(text, "")))
    _, log = only_record(format_named("otlp")(each))

    found = attributes(log)
    assert found["oomtrace.process.comm"] == text
    assert int(found["process.pid"]) == number
    assert found["process.command_args"] == [text, ""]
