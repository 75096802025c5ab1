# SPDX-License-Identifier: Apache-2.0
"""The record of a SIGKILL from user space: one line for each process that was killed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ooMtrace.record.fields import always, can_be_empty, optional
from ooMtrace.record.identity import Application, Container, Kubernetes, Scheduler, Systemd
from ooMtrace.record.kill import SCHEMA, Cgroup, Host, Job, Namespace
from ooMtrace.record.process import Executable, Process, User
from ooMtrace.settings import Level


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderContainer:
    """The innermost container that the sender ran in."""

    id: str = always("Container id")
    runtime: str | None = optional("Container runtime")
    name: str | None = optional("Name of the container")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """The process that sent SIGKILL."""

    pid: int | None = optional("Process id in the initial pid namespace")
    tid: int | None = optional("Id of the thread that sent the signal, if it is not the process's first one")
    vpid: int | None = optional("Process id in the sender's own (innermost) pid namespace, if it is a different one")
    comm: str | None = optional("Name of the thread (comm); any process can choose its own")
    executable: Executable | None = optional("The program of the sender, read after the signal")
    user: User | None = optional("The user that the sender ran as")
    cgroup: str | None = optional("Path of the sender's cgroup: its memory cgroup, or that of version 2")
    unit: str | None = optional("Name of the systemd unit that the sender ran in")
    container: SenderContainer | None = optional("The innermost container that the sender ran in")


@dataclass(frozen=True, slots=True, kw_only=True)
class SigkillFacts:
    """Who killed, how, and what belongs together."""

    incident: str = always(
        "Identifier of the incident: SIGKILLs of one sender to processes of one cgroup with less than a second between"
        " two of them, or of one write to cgroup.kill"
    )
    via_cgroup_kill: bool | None = optional(
        "True if the signal came from a write to cgroup.kill; absent if it did not, or if that is not known"
    )
    sender: Sender = always("The process that sent SIGKILL")
    dropped_before: int | None = optional("Number of SIGKILLs that got no line since the previous `sigkill` line")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sigkill:
    """A process that was sent SIGKILL from user space."""

    schema: str = field(default=SCHEMA, metadata={"doc": "Name and version of this schema"})
    event: Literal["sigkill"] = field(default="sigkill", metadata={"doc": "A process was sent SIGKILL from user space"})
    id: str = always("Identifier of the event")
    seq: int = field(default=0, metadata={"doc": "Ordinal of the line since oomtrace started, from 1"})
    time: str = always("When the signal was sent, RFC 3339 UTC")
    observed: str = always("When oomtrace observed the event, RFC 3339 UTC")
    severity: str = field(default="WARN", metadata={"doc": "OpenTelemetry severity text"})
    message: str = always("The event as an English sentence; not meant to be parsed")
    fidelity: Level = always("Level of the running tracer")
    derived: tuple[str, ...] = field(
        default=(), metadata={"doc": "Names of facts that are older than the signal (`process.command_args`)"}
    )
    truncated: tuple[str, ...] | None = optional(
        "Names of facts that were shortened or left out because a size limit was reached"
    )
    redacted: tuple[str, ...] | None = optional(
        "Names of facts in which text that looks like a secret was replaced by `********`"
    )
    withheld: tuple[str, ...] | None = optional("Names of facts left out at the operator's request (--cmdline none)")
    output_dropped_before: int | None = optional(
        "Number of lines that this output had no room for, since the line before this one in the same output; other"
        " outputs may have them"
    )
    host: Host = can_be_empty("The machine on which the event happened")
    sigkill: SigkillFacts = always("Who killed, how, and what belongs together; only with `sigkill`")
    process: Process = always("The victim")
    namespace: Namespace | None = optional("The victim's namespaces")
    cgroup: Cgroup | None = optional("The victim's own memory cgroup")
    container: Container | None = optional("The innermost container that the victim ran in")
    k8s: Kubernetes | None = optional("The Kubernetes pod that the victim ran in")
    systemd: Systemd | None = optional("The systemd unit that the victim ran in")
    scheduler: Scheduler | None = optional(
        "What a batch system or orchestrator other than Kubernetes ran the victim as"
    )
    application: Application | None = optional("The packaged application that the victim belonged to")
    job: Job | None = optional("What the victim was working on; only if its job system is recognized")
