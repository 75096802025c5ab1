# SPDX-License-Identifier: Apache-2.0
"""The format `ecs`: the Elastic Common Schema. Pure.

Names and types are those of ECS 8.17 (https://www.elastic.co/docs/reference/ecs/ecs-field-reference); what it has no
field for is below
`oomtrace`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

VERSION = "8.17.0"
SEVERITIES = {"ERROR": 3, "WARN": 4, "INFO": 6}
"""As syslog counts: event.severity is a number, log.level a text."""

TYPES = {"oom_kill": "end", "oom_exit": "end", "sigkill": "end"}

MOVED: tuple[tuple[str, str], ...] = (
    ("time", "@timestamp"),
    ("message", "message"),
    ("observed", "event.created"),
    ("id", "event.id"),
    ("seq", "event.sequence"),
    ("host.name", "host.name"),
    ("host.boot_id", "host.boot.id"),
    ("host.kernel", "host.os.kernel"),
    ("process.pid", "process.pid"),
    ("process.vpid", "process.vpid"),
    ("process.tid", "process.thread.id"),
    ("process.comm", "process.name"),
    ("process.title", "process.title"),
    ("process.command_args", "process.args"),
    ("process.executable.path", "process.executable"),
    ("process.working_directory", "process.working_directory"),
    ("process.creation.time", "process.start"),
    ("process.parent.pid", "process.parent.pid"),
    ("process.parent.comm", "process.parent.name"),
    ("process.user.id", "process.user.id"),
    ("process.user.name", "process.user.name"),
    ("process.environment", "process.env_vars"),
    ("container.id", "container.id"),
    ("container.name", "container.name"),
    ("container.runtime", "container.runtime"),
    ("container.image.name", "container.image.name"),
    ("container.labels", "container.labels"),
    ("k8s.namespace.name", "orchestrator.namespace"),
    ("k8s.pod.name", "orchestrator.resource.name"),
    ("k8s.pod.uid", "orchestrator.resource.id"),
    ("k8s.workload.kind", "orchestrator.resource.parent.type"),
)
"""From a line to ECS; what ECS has another type for is converted by CONVERTED."""

CONVERTED: dict[str, Callable[[Any], Any]] = {
    "process.user.id": str,
    "process.env_vars": lambda variables: [f"{name}={value}" for name, value in variables.items()],
    "container.labels": lambda labels: {name.replace(".", "_"): value for name, value in labels.items()},
}
"""Elasticsearch reads a dot in a key as an object, and `app` beside `app.version` would be refused."""


def to_ecs(facts: dict[str, Any]) -> dict[str, Any]:
    """Return a line as a document of ECS."""
    rest = _copied(facts)
    document: dict[str, Any] = {}
    for old, new in MOVED:
        value = _take(rest, old.split("."))
        if value is not None:
            _put(document, new.split("."), CONVERTED.get(new, _same)(value))
    event = rest.pop("event")
    severity = rest.pop("severity")
    document.setdefault("@timestamp", document["event"]["created"])
    document["event"] |= {
        "kind": "event",
        "category": ["process"],
        "type": [TYPES.get(event, "info")],
        "action": event.replace("_", "-"),
        "module": "oomtrace",
        "dataset": f"oomtrace.{event}",
        "severity": SEVERITIES[severity],
    }
    if "args" in document.get("process", {}):
        document["process"] |= {"args_count": len(document["process"]["args"])}
    if "orchestrator" in document:
        document["orchestrator"]["type"] = "kubernetes"
        document["orchestrator"].setdefault("resource", {})["type"] = "pod"
    return {**document, "ecs": {"version": VERSION}, "log": {"level": severity.lower()}, "oomtrace": rest}


def _same(value: Any) -> Any:  # noqa: ANN401
    return value


def _copied(part: dict[str, Any]) -> dict[str, Any]:
    return {name: _copied(value) if isinstance(value, dict) else value for name, value in part.items()}


def _take(part: dict[str, Any], names: list[str]) -> Any:  # noqa: ANN401
    """Remove a fact and the objects that are empty without it, and return it."""
    name, *below = names
    if not below:
        return part.pop(name, None)
    inner = part.get(name)
    if not isinstance(inner, dict):
        return None
    value = _take(inner, below)
    if not inner:
        del part[name]
    return value


def _put(part: dict[str, Any], names: list[str], value: Any) -> None:  # noqa: ANN401
    *parents, last = names
    for name in parents:
        part = part.setdefault(name, {})
    part[last] = value
