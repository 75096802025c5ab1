# SPDX-License-Identifier: Apache-2.0
"""What is known about a kill: the vocabulary of the whole product, and the one place where a field is described.

The JSON line, its JSON Schema and the event reference all follow from these classes and those of oom.py and
process.py: the order of the fields here is the order in the line. A fact that could not be had is None and does
not appear in the line; if one would expect it, its name stands in `missing`. Names are the kernel's and
OpenTelemetry's. Sizes are bytes unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Literal

from ooMtrace.record.fields import always, expected, optional
from ooMtrace.record.oom import Oom
from ooMtrace.record.process import Process
from ooMtrace.settings import Level

SCHEMA = "oomtrace/1"

WORD = range(-(1 << 63), 1 << 64)
"""Numbers of 64 bits. The kernel has no others, nor could JSON tell them: what was worked out to more is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """The machine."""

    name: str | None = expected("The machine's host name")
    boot_id: str | None = expected("/proc/sys/kernel/random/boot_id: tells the boots of one machine apart")
    kernel: str | None = expected("The kernel's release, as `uname -r` says")


@dataclass(frozen=True, slots=True, kw_only=True)
class Namespace:
    """Where the victim lived."""

    hostname: str | None = expected("Host name as the process saw it (UTS namespace)")
    pid_ns: str | None = expected("Inode number of its pid namespace")
    net_ns: str | None = expected("Inode number of its network namespace")
    addresses: tuple[str, ...] | None = optional("IP addresses there, if that is not the host's own network namespace")


@dataclass(frozen=True, slots=True, kw_only=True)
class UnifiedCgroup:
    """The victim's cgroup in the version 2 hierarchy."""

    path: str | None = expected("Path")
    id: str | None = expected("Inode number of its directory")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cgroup:
    """The victim's own memory cgroup."""

    path: str | None = expected("Path in its hierarchy, as the kernel log's task_memcg")
    id: str | None = expected("Inode number of its directory")
    version: int | None = expected("1 or 2: the version of cgroups that the memory controller is on")
    v2: UnifiedCgroup | None = optional("Its cgroup in the version 2 hierarchy, where that is another one")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What it was working on, and where to find what it has left behind."""

    system: str = always("Whose worker it was, such as `sidekiq`")
    role: str | None = optional("What it did there, such as `worker` or `master`")
    queue: str | None = optional("The queue it worked on")
    name: str | None = optional("Kind of the job: its class, function, DAG or query")
    id: str | None = optional("Number or name of the job")
    worker: str | None = optional("The worker's own name")
    join: str | None = optional(
        "The key by which the system's own registry knows this worker, or what it begins or ends with"
    )
    registry: str | None = optional("Where to look for that key")


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """The end of a victim."""

    kill: str = always("The `id` of its `oom_kill` line")
    after_us: int = always("Microseconds from SIGKILL to the exit of its last thread")
    peak_rss: int | None = optional("Bytes: the most it ever had resident, as getrusage(2): before exec counts, too")


@dataclass(frozen=True, slots=True, kw_only=True)
class OomKill:
    """One process that the OOM killer took: one line."""

    schema: str = field(default=SCHEMA, metadata={"doc": "Name and version of this form"})
    event: Literal["oom_kill", "oom_dying", "oom_exit"] = field(
        default="oom_kill",
        metadata={
            "doc": "`oom_dying` (only with --all): marked by the OOM killer, but it was already dying."
            " `oom_exit` (only with --lifecycle): a victim is gone; what came too late for its `oom_kill` is there"
        },
    )
    id: str = always("The same kill has the same id, however often and by whichever source it is reported")
    seq: int = field(default=0, metadata={"doc": "Number of the line since start, from 1"})
    time: str | None = expected("When the kernel marked the victim, RFC 3339 UTC")
    observed: str = always("When oomtrace saw it, RFC 3339 UTC")
    severity: str = field(default="ERROR", metadata={"doc": "OpenTelemetry's severity text"})
    message: str = always("The line in words, for people")
    fidelity: Level = always("Level of detail that its source offers; `log`: read from a kernel log")
    derived: tuple[str, ...] = field(
        default=(), metadata={"doc": "Facts that were worked out, because this level cannot read the kernel's decision"}
    )
    missing: tuple[str, ...] = field(default=(), metadata={"doc": "Facts that could not be had"})
    truncated: tuple[str, ...] | None = optional("Facts cut short or left out: they were too long for a line")
    redacted: tuple[str, ...] | None = optional("Facts in which what looked like a secret was replaced by `********`")
    withheld: tuple[str, ...] | None = optional("Facts left out because the operator wishes so (--no-cmdline)")
    dropped_before: int | None = optional("Records lost between the line before and this one")
    host: Host = always("The machine")
    oom: Oom = always("Why the kernel killed, and why this process")
    process: Process = always("The victim")
    namespace: Namespace | None = expected("Where it lived")
    cgroup: Cgroup | None = expected("Its own memory cgroup")
    job: Job | None = optional("What it was working on, where that is known")
    exit: Exit | None = optional("How it went, with `oom_exit`")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """Kills that the kernel has counted and nobody has seen."""

    count: int = always("How many kills have no line and will have none")
    from_: str = always("They were after this time, RFC 3339 UTC")
    to: str = always("They were before this time, RFC 3339 UTC")


@dataclass(frozen=True, slots=True, kw_only=True)
class OomLost:
    """Kills without a line: neither the probes nor the kernel log could tell of them."""

    schema: str = field(default=SCHEMA, metadata={"doc": "Name and version of this form"})
    event: Literal["oom_lost"] = field(
        default="oom_lost", metadata={"doc": "The kernel counted more kills than were seen"}
    )
    id: str = always("The same loss has the same id, however often it is reported")
    seq: int = field(default=0, metadata={"doc": "Number of the line since start, from 1"})
    observed: str = always("When oomtrace noticed it, RFC 3339 UTC")
    severity: str = field(default="WARN", metadata={"doc": "OpenTelemetry's severity text"})
    message: str = always("The line in words, for people")
    fidelity: Level = always("Level of the running tracer")
    host: Host = always("The machine")
    lost: Lost = always("What is missing")


Record = OomKill | OomLost
"""What a line may be."""


def kill_id(host: Host, number: int, tid: int | None) -> str:
    """Name a kill that the kernel has counted: the same whether it was traced or read from the kernel log."""
    return f"{(host.boot_id or host.name or 'host')[:8]}-{number}-{tid}"


def is_known(value: Any) -> bool:  # noqa: ANN401 (any fact)
    """Say whether there is something to tell."""
    return value is not None and (not isinstance(value, int) or value in WORD)


def missing_facts(kill: OomKill) -> Iterator[str]:
    """Yield the dotted names of facts that a kill has, but that are not there."""
    yield from _missing(kill, "")
    if kill.oom.scope == "memcg" and kill.oom.memcg is None:
        yield "oom.memcg"
    if kill.process.title is None and kill.process.command_args is None and not kill.withheld:
        yield "process.command_args"


def _missing(part: Any, prefix: str) -> Iterator[str]:  # noqa: ANN401 (any dataclass of this module)
    for one in fields(part):
        value, name = getattr(part, one.name), prefix + one.name
        empty = is_dataclass(value) and not any(is_known(getattr(value, inner.name)) for inner in fields(value))
        if (empty or not is_known(value)) and one.metadata.get("expected"):
            yield name
        elif is_dataclass(value):
            yield from _missing(value, f"{name}.")
