# SPDX-License-Identifier: Apache-2.0
"""Lines as log records of OpenTelemetry, in the JSON encoding of OTLP. Pure.

Attributes have the names of OpenTelemetry's semantic conventions (1.44) where there is one, else `oomtrace.` before the
name in the line.
"""

from __future__ import annotations

from calendar import timegm
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from ooMtrace import __version__
from ooMtrace.output.encode import dump_line, load
from ooMtrace.output.formats.flat import leaves
from ooMtrace.output.lines import Lines

PATH = "/v1/logs"
NUMBERS = {"ERROR": 17, "WARN": 13, "INFO": 9}
FATAL = 21
"""SeverityNumber of the logs data model; a kill because the whole host ran out of memory is FATAL."""

INT64_MAX = (1 << 63) - 1

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
OWN_FIELDS = ("time", "observed", "severity", "message", "event", "host.name")
"""What a log record or its resource has a place of its own for."""


def log_record(lines: Lines) -> bytes:
    """Return a line as the JSON of a LogRecord, with the name of the host as its first line."""
    facts = load(lines.line())
    number = NUMBERS[facts["severity"]]
    if number == NUMBERS["ERROR"] and facts.get("oom", {}).get("scope") == "global":
        number = FATAL
    record = {
        "observedTimeUnixNano": _nanoseconds(facts["observed"]),
        "severityNumber": number,
        "severityText": "FATAL" if number == FATAL else facts["severity"],
        "eventName": f"oomtrace.{facts['event']}",
        "body": {"stringValue": facts["message"]},
        "attributes": _attributes(facts),
    }
    if "time" in facts:
        record["timeUnixNano"] = _nanoseconds(facts["time"])
    return dump_line(facts.get("host", {}).get("name", "")) + dump_line(record).rstrip(b"\n")


def export_request(records: Sequence[bytes]) -> bytes:
    """Return the ExportLogsServiceRequest with these records: one resource for each host."""
    hosts: dict[bytes, list[bytes]] = {}
    for record in records:
        host, _, text = record.partition(b"\n")
        hosts.setdefault(host, []).append(text)
    scope = dump_line({"name": "oomtrace", "version": __version__}).rstrip(b"\n")
    parts = (
        b'{"resource":%s,"scopeLogs":[{"scope":%s,"logRecords":[%s]}]}' % (_resource(host), scope, b",".join(texts))
        for host, texts in hosts.items()
    )
    return b'{"resourceLogs":[%s]}' % b",".join(parts)


def rejected(response: bytes) -> int:
    """Return how many records a response says were rejected (partialSuccess)."""
    try:
        return int(load(response)["partialSuccess"]["rejectedLogRecords"])
    except (ValueError, TypeError, KeyError):
        return 0


def _resource(host: bytes) -> bytes:
    names = {"service.name": "oomtrace", "service.version": __version__, "os.type": "linux", "host.name": load(host)}
    attributes = [_attribute(name, value) for name, value in names.items() if value]
    return dump_line({"attributes": attributes}).rstrip(b"\n")


def _attributes(facts: dict[str, Any]) -> list[dict[str, Any]]:
    known = [(_convention(name), value) for name, value in leaves(facts, "") if name not in OWN_FIELDS]
    workload = facts.get("k8s", {}).get("workload", {})
    kind = str(workload.get("kind", "")).lower()
    if kind in WORKLOADS:
        known.append((f"k8s.{kind}.name", workload["name"]))
    return [_attribute(name, value) for name, value in known]


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


def _nanoseconds(time: str) -> str:
    at = datetime.fromisoformat(time.replace("Z", "+00:00"))
    return str((timegm(at.utctimetuple()) * 1_000_000 + at.microsecond) * 1000)
