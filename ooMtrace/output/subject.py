# SPDX-License-Identifier: Apache-2.0
"""What a record is about, in a few words: for fields, labels and priorities of outputs. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from ooMtrace.record import OomKill, OomLost, OomNoKill, Record, Sigkill

SHORT_ID = 12
"""Characters of a container id, as `docker ps` shows it."""

CRITICAL, ERROR, WARNING, INFO = 2, 3, 4, 6
PRIORITIES = {"ERROR": ERROR, "WARN": WARNING, "INFO": INFO}


@dataclass(frozen=True, slots=True)
class Subject:
    """Names that lines are found and counted by; "" where there is none.

    Attributes:
        event: Kind of the event.
        scope: What ran out of memory.
        verdict: How the victim came to die.
        namespace: Kubernetes namespace.
        pod: Name of the pod, or its uid.
        container: Name of the container, or the start of its id.
        unit: systemd unit.
        comm: Name of the victim.
        pid: Process id of the victim, as a number in text.
    """

    event: str
    scope: str = ""
    verdict: str = ""
    namespace: str = ""
    pod: str = ""
    container: str = ""
    unit: str = ""
    comm: str = ""
    pid: str = ""


def subject_of(record: Record) -> Subject:
    """Return what a record is about."""
    scope, verdict = _oom(record)
    if isinstance(record, (OomLost, OomNoKill)):
        return Subject(record.event, scope)
    namespace, pod, container = _pod(record)
    return Subject(
        record.event,
        scope,
        verdict,
        namespace,
        pod,
        container,
        (record.systemd and record.systemd.unit) or "",
        record.process.comm or "",
        _text(record.process.pid),
    )


def priority_of(record: Record) -> int:
    """Return the syslog severity: `crit` if the whole host ran out of memory, else that of the line."""
    if isinstance(record, (OomKill, OomNoKill)) and record.severity == "ERROR" and record.oom.scope == "global":
        return CRITICAL
    return PRIORITIES.get(record.severity, INFO)


def time_of(record: Record) -> str:
    """Return when it happened, or else when it was observed, RFC 3339."""
    return (None if isinstance(record, OomLost) else record.time) or record.observed


def _oom(record: Record) -> tuple[str, str]:
    if isinstance(record, (OomKill, OomNoKill)):
        return record.oom.scope or "", record.oom.verdict or ""
    return "", ""


def _pod(record: OomKill | Sigkill) -> tuple[str, str, str]:
    container = record.container and (record.container.name or record.container.id[:SHORT_ID])
    k8s = record.k8s
    if k8s is None:
        return "", "", container or ""
    inner = k8s.container and k8s.container.name
    namespace = k8s.namespace.name if k8s.namespace else ""
    return namespace, k8s.pod.name or k8s.pod.uid, inner or container or ""


def _text(number: int | None) -> str:
    return "" if number is None else str(number)
