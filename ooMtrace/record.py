# SPDX-License-Identifier: Apache-2.0
"""What is known about a kill: the vocabulary of the whole product, and the one place where a field is described.

The JSON line, its JSON Schema and the event reference all follow from these classes: the order of the fields here is
the order in the line. A fact that could not be had is None and does not appear in the line; if one would expect it,
its name stands in `missing`. Names are the kernel's and OpenTelemetry's. Sizes are bytes unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Literal

SCHEMA = "oomtrace/1"

Verdict = Literal["killed", "group_member", "shared_mm"]
Scope = Literal["memcg", "global", "cpuset", "mempolicy", "sysrq"]
Source = Literal["full", "victim", "record"]


def always(doc: str) -> Any:  # noqa: ANN401 (dataclasses.field is typed so, too)
    """Declare a fact that every line has."""
    return field(metadata={"doc": doc})


def expected(doc: str) -> Any:  # noqa: ANN401
    """Declare a fact that every kill has; if it could not be had, `missing` names it."""
    return field(default=None, metadata={"doc": doc, "expected": True})


def optional(doc: str) -> Any:  # noqa: ANN401
    """Declare a fact that not every kill has."""
    return field(default=None, metadata={"doc": doc})


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """The machine."""

    name: str = always("The machine's host name")
    boot_id: str | None = expected("/proc/sys/kernel/random/boot_id: tells the boots of one machine apart")
    kernel: str = always("The kernel's release, as `uname -r` says")


@dataclass(frozen=True, slots=True, kw_only=True)
class GfpMask:
    """What kind of memory was asked for."""

    raw: str = always("The kernel's gfp_mask, hexadecimal")
    flags: tuple[str, ...] = always("The same by the kernel's names")


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """The kernel's badness of the process, oom_badness() in mm/oom_kill.c, in pages."""

    total: int | None = expected("What the kernel weighed: rss + swap + page_tables + adj")
    rss: int | None = expected("Resident pages: anonymous, file and shared memory")
    swap: int | None = expected("Pages in swap")
    page_tables: int | None = expected("Pages of page tables")
    adj: int | None = expected("What oom_score_adj adds or takes away: oom_score_adj * (limit in pages / 1000)")
    exact: bool | None = optional("Whether the parts add up to the kernel's own total; absent where that is not known")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """The task whose allocation could not be met. It need not be the victim."""

    pid: int | None = expected("Process id in the initial pid namespace")
    tid: int | None = expected("Thread id in the initial pid namespace")
    comm: str | None = expected("The thread's name")
    cgroup: str | None = expected("Path of its memory cgroup")


@dataclass(frozen=True, slots=True, kw_only=True)
class MemcgEvents:
    """How often something has happened in a memory cgroup: memory.events.

    On version 2 they count for all below, this kill included; on version 1 for the cgroup alone.
    """

    high: int | None = optional("Throttled over memory.high")
    max: int | None = optional("At the limit")
    oom: int | None = optional("Out of memory")
    oom_kill: int | None = optional("Processes killed")
    oom_group_kill: int | None = optional("Group kills (Linux 5.17 and later)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Memcg:
    """The memory cgroup that was out of memory: whose limit was hit, not necessarily the victim's own."""

    path: str | None = expected("Path in its hierarchy, as the kernel log's oom_memcg")
    id: str | None = expected("Inode number of its directory")
    version: int | None = expected("1 or 2: the version of cgroups that the memory controller is on")
    usage: int | None = expected("Bytes charged at the kill")
    limit: int | None = expected("Bytes: memory.max, or memory.limit_in_bytes on version 1")
    high: int | None = optional("Bytes: memory.high, if set")
    peak: int | None = optional("Bytes: the highest usage so far")
    swap: int | None = optional("Bytes in swap")
    swap_limit: int | None = optional("Bytes: how much swap it may use, if limited")
    events: MemcgEvents | None = expected("Its counters")


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The cgroup whose memory.oom.group made the kernel kill all of it."""

    path: str | None = expected("Its path")
    size: int | None = expected("How many processes the kernel killed for it")


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A process that the kernel weighed before it chose."""

    pid: int | None = expected("Process id in the initial pid namespace")
    comm: str | None = expected("The process's name")
    points: int = always("The kernel's badness, in pages")
    oom_score_adj: int | None = expected("-1000 to 1000")
    memory: int | None = expected("Bytes resident, in swap and in page tables: the points without what adj adds")
    cgroup: str | None = expected("Path of its memory cgroup")


@dataclass(frozen=True, slots=True, kw_only=True)
class Oom:
    """Why the kernel killed, and why this process."""

    incident: str = always("The same for all lines of one out-of-memory situation")
    verdict: Verdict | None = optional(
        "`killed`: chosen by the kernel. `group_member`: killed because it belongs to a memory.oom.group."
        " `shared_mm`: killed because it shares the memory of a chosen one, which the kernel does not log"
    )
    scope: Scope | None = expected("What was out of memory; `sysrq`: somebody asked for a kill")
    constraint: str | None = expected("The kernel's own word: enum oom_constraint")
    gfp_mask: GfpMask | None = expected("The allocation that failed")
    order: int | None = expected("The allocation's size is 2^order pages; -1 for sysrq")
    points: Points | None = expected("The kernel's badness, in pages")
    limit_bytes: int | None = expected("What the points are measured against (`totalpages`): limit or RAM, and swap")
    trigger: Trigger | None = expected("Whose allocation failed")
    memcg: Memcg | None = optional("Whose limit was hit; only with scope `memcg`")
    group: Group | None = optional("Only if memory.oom.group took part")
    weighed: int | None = optional("How many processes the kernel weighed; on the chosen one's line, level `full`")
    candidates: tuple[Candidate, ...] | None = optional("The ten with the most points, the kernel's choice first")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """The victim's parent."""

    pid: int | None = expected("Process id in the initial pid namespace")
    vpid: int | None = expected("Process id as it sees itself, in the innermost pid namespace")
    comm: str | None = expected("The process's name")


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Who ran it."""

    id: int | None = expected("Real user id in the initial user namespace")
    name: str | None = optional("The id's name in this host's /etc/passwd; inside a container it may be another")


@dataclass(frozen=True, slots=True, kw_only=True)
class Creation:
    """When it began."""

    time: str | None = expected("Start of the process, RFC 3339 UTC")


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What the victim held when it was marked, in bytes."""

    anon: int | None = expected("Resident anonymous memory")
    file: int | None = expected("Resident memory of mapped files")
    shmem: int | None = expected("Resident shared memory")
    swap: int | None = expected("In swap")
    page_tables: int | None = expected("Page tables")
    total_vm: int | None = expected("Size of the address space")
    peak_rss: int | None = expected("The most it ever had resident")


@dataclass(frozen=True, slots=True, kw_only=True)
class Executable:
    """The program."""

    path: str | None = expected("Its file, as the process saw the file system")


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenFiles:
    """What its file descriptors were, counted."""

    total: int = always("How many were open, of those looked at")
    regular: int = always("Files")
    directory: int = always("Directories")
    device: int = always("Character and block devices, terminals among them")
    pipe: int = always("Pipes")
    socket: int = always("Sockets of any kind")
    anonymous: int = always("What has no name: eventfd, epoll, timerfd, BPF, ...")
    tcp: int = always("Of the sockets: TCP")
    udp: int = always("Of the sockets: UDP")
    unix: int = always("Of the sockets: Unix domain")
    incomplete: bool | None = optional("True: only the first 1,024 descriptors were looked at, there may be more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One end of a connection."""

    address: str | None = optional("IP address, or the name of a Unix domain socket; `@` begins an abstract one")
    port: int | None = optional("Port number")


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """A socket that was open."""

    fd: int = always("Its file descriptor")
    transport: str = always("`tcp`, `udp`, `unix`, or another by the name or number of its protocol")
    state: str | None = optional("TCP's state, such as `established` or `listen`")
    local: Endpoint | None = optional("This end")
    remote: Endpoint | None = optional("The other end")
    service: str | None = optional("What is known to be at the other end or, of one that listens, at this one")


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """The victim."""

    pid: int | None = expected("Process id in the initial pid namespace: what the host's ps shows")
    tid: int | None = expected("The thread that the kernel marked, which its log calls the process")
    vpid: int | None = expected("Process id as it saw itself: what its own logs show")
    comm: str | None = expected("Name of the marked thread")
    parent: Parent | None = expected("Its parent")
    user: User | None = expected("Who ran it")
    creation: Creation | None = expected("When it began")
    threads: int | None = expected("How many threads it had")
    oom_score_adj: int | None = expected("-1000 to 1000: /proc/PID/oom_score_adj")
    memory: Memory | None = expected("What it held")
    title: str | None = optional("What it had written over its arguments: its own words on what it was doing")
    command_args: tuple[str, ...] | None = optional("Its arguments, the program's name first; unless it has a title")
    executable: Executable | None = expected("The program")
    working_directory: str | None = expected("Where it was in the file system, as it saw it")
    open_files: OpenFiles | None = expected("Its file descriptors")
    connections: tuple[Connection, ...] | None = expected("Its TCP and UDP sockets, and Unix domain ones with a name")
    environment: Mapping[str, str] | None = optional("Its environment variables, of those allowed by --env")


@dataclass(frozen=True, slots=True, kw_only=True)
class Namespace:
    """Where the victim lived."""

    hostname: str | None = expected("Host name as the process saw it (UTS namespace)")
    pid: str | None = expected("Inode number of its pid namespace")
    net: str | None = expected("Inode number of its network namespace")
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
    join: str | None = optional("The key under which the system's own registry knows this worker")
    registry: str | None = optional("Where to look for that key")


@dataclass(frozen=True, slots=True, kw_only=True)
class OomKill:
    """One process that the OOM killer took: one line."""

    schema: str = field(default=SCHEMA, metadata={"doc": "Name and version of this form"})
    event: Literal["oom_kill", "oom_dying"] = field(
        default="oom_kill",
        metadata={"doc": "`oom_dying` (only with --all): marked by the OOM killer, but it was already dying"},
    )
    id: str = always("The same kill has the same id, however often it is reported")
    seq: int = field(default=0, metadata={"doc": "Number of the line since start, from 1"})
    time: str = always("When the kernel marked the victim, RFC 3339 UTC")
    observed: str = always("When oomtrace saw it, RFC 3339 UTC")
    severity: str = field(default="ERROR", metadata={"doc": "OpenTelemetry's severity text"})
    message: str = always("The line in words, for people")
    source: Source = always("The level of truth: `full`, `victim` or `record`")
    derived: tuple[str, ...] = field(
        default=(), metadata={"doc": "Facts that were worked out, because this level can't read the kernel's decision"}
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


def missing(kill: OomKill) -> Iterator[str]:
    """Yield the dotted names of facts that a kill has, but that are not there."""
    yield from _missing(kill, "")
    if kill.oom.scope == "memcg" and kill.oom.memcg is None:
        yield "oom.memcg"
    if kill.process.title is None and kill.process.command_args is None and not kill.withheld:
        yield "process.command_args"


def _missing(part: Any, prefix: str) -> Iterator[str]:  # noqa: ANN401 (any dataclass of this module)
    for one in fields(part):
        value, name = getattr(part, one.name), prefix + one.name
        empty = is_dataclass(value) and not any(getattr(value, inner.name) is not None for inner in fields(value))
        if (value is None or empty) and one.metadata.get("expected"):
            yield name
        elif is_dataclass(value):
            yield from _missing(value, f"{name}.")
