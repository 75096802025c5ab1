# SPDX-License-Identifier: Apache-2.0
"""The record of a kill, and the one place where its facts are described.

The JSON line and its JSON Schema follow from these classes and those of oom.py and process.py: the order of the fields
here is the order of the keys in the line. A fact that could not be read is None and is absent from the line; if every
kill has it, `missing` names it. Names are the kernel's and OpenTelemetry's. Sizes are bytes unless stated otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from ooMtrace.record.fields import always, can_be_empty, expected, facts_of, optional
from ooMtrace.record.identity import Application, Container, Kubernetes, Scheduler, Systemd
from ooMtrace.record.oom import Oom
from ooMtrace.record.process import Process
from ooMtrace.settings import Level

SCHEMA = "oomtrace/1"

INT64 = range(-(1 << 63), 1 << 64)
"""Signed and unsigned 64-bit integers. The kernel has no larger ones and the encoder accepts none: a computed value
outside is treated as unknown, as None is.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """The machine."""

    name: str | None = expected("Host name of the machine")
    boot_id: str | None = expected("Boot identifier, /proc/sys/kernel/random/boot_id: differs for each boot")
    kernel: str | None = expected("Kernel release, as printed by `uname -r`")


@dataclass(frozen=True, slots=True, kw_only=True)
class Namespace:
    """The victim's namespaces."""

    hostname: str | None = expected("Host name as the victim saw it (UTS namespace)")
    pid_ns: str | None = expected("Inode number of the victim's pid namespace")
    net_ns: str | None = expected("Inode number of the victim's network namespace")
    addresses: tuple[str, ...] | None = optional(
        "IP addresses in the victim's network namespace, without loopback; absent if that namespace is the host's"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class UnifiedCgroup:
    """The victim's cgroup in the version 2 hierarchy."""

    path: str | None = expected("Path from the root of the version 2 hierarchy")
    id: str | None = expected("Inode number of the cgroup's directory")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cgroup:
    """The victim's own memory cgroup."""

    path: str | None = expected("Path from the root of its hierarchy: `task_memcg` in the kernel log")
    id: str | None = expected("Inode number of the cgroup's directory")
    version: int | None = expected("Cgroup version of the memory controller: 1 or 2")
    v2: UnifiedCgroup | None = optional("The victim's cgroup in the version 2 hierarchy, if it is a different one")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What the victim was working on, and where to find what it left behind."""

    system: str = always("Job system or server that the victim belonged to, such as `sidekiq`")
    role: str | None = optional("Role of the victim in that system, such as `worker` or `master`")
    queue: str | None = optional("Queue that the victim was serving")
    name: str | None = optional("Kind of job: name of the class, function, DAG or query")
    id: str | None = optional("Identifier of the job")
    worker: str | None = optional("Name that the worker goes by in its system")
    join: str | None = optional(
        "Key of this worker or job in the job system's own registry, or a prefix or suffix of that key"
    )
    registry: str | None = optional("Where to look up `join`: the table, key or API of the job system")


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """The exit of a victim."""

    kill: str = always("The `id` of the victim's `oom_kill` line")
    after_us: int = always("Microseconds from SIGKILL until the victim's last thread exited")
    peak_rss: int | None = optional(
        "Peak resident set in bytes, as ru_maxrss of getrusage(2): includes the time before the last execve(2)"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class OomKill:
    """One process that the OOM killer killed or marked: one line."""

    schema: str = field(default=SCHEMA, metadata={"doc": "Name and version of this schema"})
    event: Literal["oom_kill", "oom_dying", "oom_exit"] = field(
        default="oom_kill",
        metadata={
            "doc": "What happened. `oom_kill`: the OOM killer killed a process."
            " `oom_dying` (only with --all): it marked a process that was already dying."
            " `oom_exit` (only with --lifecycle): a victim has exited; repeats the facts of its `oom_kill` line, with"
            " those that arrived later. `oom_lost`: the kernel counted kills that have no line. `oom_no_kill` (only at"
            " fidelity `log`): memory ran out and the OOM killer killed nothing. `sigkill`: a process was sent"
            " SIGKILL from user space, by a memory killer such as systemd-oomd, or with --sigkill all by any process"
        },
    )
    id: str = always("Identifier of the event: the same event has the same id in every run and from every source")
    seq: int = field(default=0, metadata={"doc": "Ordinal of the line since oomtrace started, from 1"})
    time: str | None = expected(
        "Time of the event, RFC 3339 UTC: when the kernel marked the victim; for `shared_mm` when it sent SIGKILL; for"
        " `oom_exit` when the last thread exited; at fidelity `log` when it wrote the log line"
    )
    observed: str = always("When oomtrace observed the event, RFC 3339 UTC")
    severity: str = field(
        default="ERROR",
        metadata={
            "doc": "OpenTelemetry severity text: `ERROR` for `oom_kill` and `oom_no_kill`, `WARN` for `oom_lost` and"
            " `sigkill`,"
            " otherwise `INFO`"
        },
    )
    message: str = always("The event as an English sentence; not meant to be parsed")
    fidelity: Level = always(
        "Level of detail of the source. `full`: probes that read the kernel's decision. `reduced`: probes without the"
        " decision, which is derived. `minimal`: the tracepoint's fields and /proc. `log`: the kernel log"
    )
    derived: tuple[str, ...] = field(
        default=(),
        metadata={
            "doc": "Names of facts that oomtrace computed because the source does not contain them, or that are older"
            " than the kill (`process.command_args` as of execve)"
        },
    )
    missing: tuple[str, ...] = field(
        default=(), metadata={"doc": "Names of facts that every kill has, but that could not be read"}
    )
    truncated: tuple[str, ...] | None = optional(
        "Names of facts that were shortened or left out because a size limit was reached"
    )
    redacted: tuple[str, ...] | None = optional(
        "Names of facts in which text that looks like a secret was replaced by `********`"
    )
    withheld: tuple[str, ...] | None = optional("Names of facts left out at the operator's request (--cmdline none)")
    dropped_before: int | None = optional(
        "Number of source records lost before oomtrace could read them, since the previous kill's line; kills among"
        " them are backfilled from the kernel log or reported by `oom_lost`"
    )
    output_dropped_before: int | None = optional(
        "Number of lines that this output had no room for, since the line before this one in the same output; other"
        " outputs may have them"
    )
    host: Host = can_be_empty("The machine on which the event happened; absent if a kernel log does not show it")
    oom: Oom = always("Why the kernel killed, and why it chose this process")
    process: Process = always("The victim")
    namespace: Namespace | None = expected("The victim's namespaces")
    cgroup: Cgroup | None = expected("The victim's own memory cgroup; the one that reached its limit is `oom.memcg`")
    container: Container | None = optional("The innermost container that the victim ran in")
    k8s: Kubernetes | None = optional("The Kubernetes pod that the victim ran in")
    systemd: Systemd | None = optional("The systemd unit that the victim ran in")
    scheduler: Scheduler | None = optional(
        "What a batch system or orchestrator other than Kubernetes ran the victim as"
    )
    application: Application | None = optional("The packaged application that the victim belonged to")
    job: Job | None = optional("What the victim was working on; only if its job system is recognized")
    exit: Exit | None = optional("The exit of the victim; only with `oom_exit`")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """Kills that the kernel counted and that no source delivered."""

    count: int = always("Number of kills that have no line and will not get one")
    from_: str = always("Start of the period in which they happened, RFC 3339 UTC")
    to: str = always("End of the period in which they happened, RFC 3339 UTC")


@dataclass(frozen=True, slots=True, kw_only=True)
class OomLost:
    """Kills without a line: neither the probes nor the kernel log contained them."""

    schema: str = field(default=SCHEMA, metadata={"doc": "Name and version of this schema"})
    event: Literal["oom_lost"] = field(
        default="oom_lost", metadata={"doc": "The kernel counted kills that have no line"}
    )
    id: str = always("Identifier of the loss: the same loss has the same id, however often it is reported")
    seq: int = field(default=0, metadata={"doc": "Ordinal of the line since oomtrace started, from 1"})
    observed: str = always("When oomtrace noticed the loss, RFC 3339 UTC")
    severity: str = field(default="WARN", metadata={"doc": "OpenTelemetry severity text"})
    message: str = always("The event as an English sentence; not meant to be parsed")
    fidelity: Level = always("Level of the running tracer")
    output_dropped_before: int | None = optional(
        "Number of lines that this output had no room for, since the line before this one in the same output; other"
        " outputs may have them"
    )
    host: Host = always("The machine on which the event happened")
    lost: Lost = always("The kills that have no line; only with `oom_lost`")


@dataclass(frozen=True, slots=True, kw_only=True)
class OomNoKill:
    """An OOM without a victim, as the kernel log reports it; the kernel does not count these."""

    schema: str = field(default=SCHEMA, metadata={"doc": "Name and version of this schema"})
    event: Literal["oom_no_kill"] = field(
        default="oom_no_kill", metadata={"doc": "Memory ran out and the OOM killer killed nothing"}
    )
    id: str = always("Identifier of the event: the same event has the same id in every run")
    seq: int = field(default=0, metadata={"doc": "Ordinal of the line since oomtrace started, from 1"})
    time: str | None = expected("When the kernel wrote the log line that ends the report, RFC 3339 UTC")
    observed: str = always("When oomtrace observed the event, RFC 3339 UTC")
    severity: str = field(default="ERROR", metadata={"doc": "OpenTelemetry severity text"})
    message: str = always("The event as an English sentence; not meant to be parsed")
    fidelity: Level = field(default="log", metadata={"doc": "Level of detail of the source: always `log`"})
    derived: tuple[str, ...] = field(
        default=(), metadata={"doc": "Names of facts that oomtrace computed because the source does not contain them"}
    )
    missing: tuple[str, ...] = field(
        default=(), metadata={"doc": "Names of facts that every OOM has, but that could not be read"}
    )
    truncated: tuple[str, ...] | None = optional(
        "Names of facts that were shortened or left out because a size limit was reached"
    )
    output_dropped_before: int | None = optional(
        "Number of lines that this output had no room for, since the line before this one in the same output; other"
        " outputs may have them"
    )
    host: Host = can_be_empty("The machine on which the event happened; absent if a kernel log does not show it")
    oom: Oom = always("What ran out of memory, and why the kernel killed nothing")


def kill_id(host: Host, number: int, tid: int | None) -> str:
    """Return the id of a kill that the kernel counted: the same from the probes and from the kernel log."""
    return f"{(host.boot_id or host.name or 'host')[:8]}-{number}-{tid}"


def missing_facts(event: OomKill | OomNoKill) -> list[str]:
    """Return the dotted names of facts that every kill has, but that are not known of this one.

    Of an OOM without a kill: those that it can have, for only a victim has points.
    """
    missing: list[str] = []
    _add_missing(event, "", missing)
    if not isinstance(event, OomKill) and "oom.points" in missing:
        missing.remove("oom.points")
    if event.oom.scope == "memcg" and event.oom.memcg is None:
        missing.append("oom.memcg")
    if not isinstance(event, OomKill):
        return missing
    if event.process.title is None and event.process.command_args is None and not event.withheld:
        missing.append("process.command_args")
    return missing


def _add_missing(part: Any, prefix: str, missing: list[str]) -> bool:  # noqa: ANN401 (any dataclass of this package)
    """Add the names of what is missing from a part; return whether any fact of it is known.

    A part without a known fact is itself missing, and not each of its facts.
    """
    any_known = False
    for attribute, _, is_expected in facts_of(type(part)) or ():
        value = getattr(part, attribute)
        kind = type(value)
        if value is None or (kind is int and value not in INT64):
            if is_expected:
                missing.append(prefix + attribute)
            continue
        any_known = True
        if kind is not str and kind is not int and facts_of(kind) is not None:
            count = len(missing)
            if not _add_missing(value, f"{prefix}{attribute}.", missing) and is_expected:
                missing[count:] = [prefix + attribute]
    return any_known
