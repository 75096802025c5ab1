# SPDX-License-Identifier: Apache-2.0
"""The format `otlp`: OpenTelemetry's logs in the JSON encoding of OTLP. Pure.

Attributes have the names of OpenTelemetry's semantic conventions (1.44) where there is one, else `oomtrace.` before the
name in the line. Field names and the encoding of numbers are those of opentelemetry-proto (docs/specification.md).
"""

from __future__ import annotations

from calendar import timegm
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from ooMtrace import __version__
from ooMtrace.output.formats.flat import leaves

NUMBERS = {"ERROR": 17, "WARN": 13, "INFO": 9}
FATAL = 21
"""SeverityNumber of the logs data model; a kill because the whole host ran out of memory is FATAL."""

INT64_MAX = (1 << 63) - 1
UINT64 = range(1 << 64)

CONVENTIONS = {
    **{
        name: name
        for name in (
            *("process.pid", "process.vpid", "process.title", "process.command_args", "process.working_directory"),
            *("process.executable.path", "process.creation.time", "process.user.id"),
            *("container.id", "container.name", "container.image.name"),
            *("k8s.namespace.name", "k8s.pod.name", "k8s.pod.uid", "k8s.container.name", "k8s.container.restart_count"),
            *("k8s.node.name",),
        )
    },
    "process.parent.pid": "process.parent_pid",
    "process.user.name": "process.owner",
    "container.runtime": "container.runtime.name",
}
PREFIXES = {"container.labels.": "container.label.", "process.environment.": "process.environment_variable."}
WORKLOADS = ("deployment", "job", "cronjob", "statefulset", "daemonset", "replicaset")
TIMES = {"time": "timeUnixNano", "observed": "observedTimeUnixNano"}
OWN_FIELDS = ("severity", "message", "event", "host.name")
"""What a log record or its resource has a place of its own for, besides TIMES."""

SCOPE = {"name": "oomtrace", "version": __version__}


def to_logs_data(facts: dict[str, Any]) -> dict[str, Any]:
    """Return a line as LogsData with one log record: what the Collector's otlpjsonfile receiver reads from a line."""
    scope_logs = {"scope": SCOPE, "logRecords": [to_log_record(facts)]}
    return {"resourceLogs": [{"resource": resource(host_name(facts)), "scopeLogs": [scope_logs]}]}


def to_log_record(facts: dict[str, Any]) -> dict[str, Any]:
    """Return a line as a LogRecord; the name of its host belongs to the resource."""
    number = NUMBERS[facts["severity"]]
    if number == NUMBERS["ERROR"] and facts.get("oom", {}).get("scope") == "global":
        number = FATAL
    times = dict(_times(facts))
    known = _attributes(facts, without={*OWN_FIELDS, *(name for name, field in TIMES.items() if field in times)})
    return {
        **times,
        "severityNumber": number,
        "severityText": "FATAL" if number == FATAL else facts["severity"],
        "eventName": f"oomtrace.{facts['event']}",
        "body": {"stringValue": facts["message"]},
        "attributes": [_attribute(name, value) for name, value in known],
    }


def resource(host: str) -> dict[str, Any]:
    """Return the Resource of a host; "": its name is not known."""
    names = {"service.name": "oomtrace", "service.version": __version__, "os.type": "linux", "host.name": host}
    return {"attributes": [_attribute(name, value) for name, value in names.items() if value]}


def host_name(facts: dict[str, Any]) -> str:
    """Return the name of a line's host; "": it is not known."""
    return str(facts.get("host", {}).get("name", ""))


def _attributes(facts: dict[str, Any], without: set[str]) -> Iterator[tuple[str, Any]]:
    for name, value in leaves(facts, ""):
        if name not in without:
            yield _convention(name), value
    workload = facts.get("k8s", {}).get("workload", {})
    kind = str(workload.get("kind", "")).lower()
    if kind in WORKLOADS:
        yield f"k8s.{kind}.name", workload["name"]


def _convention(name: str) -> str:
    for prefix, replacement in PREFIXES.items():
        if name.startswith(prefix):
            return replacement + name.removeprefix(prefix)
    return CONVENTIONS.get(name, f"oomtrace.{name}")


def _attribute(name: str, value: Any) -> dict[str, Any]:  # noqa: ANN401 (any value in a line)
    return {"key": name, "value": _any_value(value)}


def _any_value(value: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return an AnyValue: 64-bit integers are decimal text, and unsigned ones that do not fit are only text."""
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue" if value <= INT64_MAX else "stringValue": str(value)}
    if isinstance(value, list):
        return {"arrayValue": {"values": [_any_value(item) for item in value]}}
    return {"doubleValue": value} if isinstance(value, float) else {"stringValue": str(value)}


def _times(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the times that OTLP can express, which are those from 1970 to 2554: a log may have any date."""
    for name, field in TIMES.items():
        if name in facts and (nanoseconds := _nanoseconds(facts[name])) in UINT64:
            yield field, str(nanoseconds)


def _nanoseconds(time: str) -> int:
    at = datetime.fromisoformat(time.replace("Z", "+00:00"))
    return (timegm(at.utctimetuple()) * 1_000_000 + at.microsecond) * 1000
