# SPDX-License-Identifier: Apache-2.0
"""Probe events: what the BPF side sends through the perf buffer, decoded. Numbers are in the kernel's own units.

The counterpart of bpf/events.h. None: could not be read.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """What happened to the process (enum kind in bpf/events.h).

    Attributes:
        DYING: Marked, but already dying: the OOM killer did not send SIGKILL.
        KILLED: SIGKILL sent by the OOM killer, then marked.
        SHARER: SIGKILL sent because it shares the memory of the process marked just before; not marked itself.
    """

    DYING = 1
    KILLED = 2
    SHARER = 3


@dataclass(frozen=True, slots=True)
class Task:
    """A thread and its process; ids in the initial pid namespace, `vpid`: process id in the innermost one."""

    pid: int | None
    tid: int | None
    vpid: int | None
    comm: str | None


@dataclass(frozen=True, slots=True)
class Rss:
    """The four counters of mm_struct.rss_stat, in pages (swap: entries)."""

    file: int | None
    anon: int | None
    swap: int | None
    shmem: int | None


@dataclass(frozen=True, slots=True)
class Victim:
    """The victim; `start_boottime` is CLOCK_BOOTTIME nanoseconds, `total_vm` and `hiwater_rss` are pages.

    Attributes:
        rss: The counters without the parts that CPUs keep for themselves.
        rss_sum: The same with every CPU's part added.
        pid_ns, net_ns: Inode numbers.
        hostname: UTS node name.
    """

    task: Task
    parent: Task
    uid: int | None
    start_boottime: int | None
    oom_score_adj: int | None
    threads: int | None
    rss: Rss
    rss_sum: Rss
    pgtables_bytes: int | None
    total_vm: int | None
    hiwater_rss: int | None
    pid_ns: int | None
    net_ns: int | None
    hostname: str | None


@dataclass(frozen=True, slots=True)
class MemcgLevel:
    """One memory cgroup, the victim's own or an ancestor; sizes in pages.

    Attributes:
        id: kernfs id: inode number of its directory.
        swap_usage, swap_max: Swap; on version 1 memory plus swap (memsw).
        oom_group: memory.oom.group.
    """

    id: int
    usage: int | None
    max: int | None
    high: int | None
    watermark: int | None
    swap_usage: int | None
    swap_max: int | None
    swappiness: int | None
    events_high: int | None
    events_max: int | None
    events_oom: int | None
    events_oom_kill: int | None
    events_oom_group_kill: int | None
    oom_group: int | None


@dataclass(frozen=True, slots=True)
class Decision:
    """struct oom_control (include/linux/oom.h) on entry to oom_kill_process(); `ktime` is CLOCK_MONOTONIC ns."""

    ktime: int
    constraint: int | None
    gfp_mask: int | None
    order: int | None
    totalpages: int | None
    chosen_points: int | None
    chosen_pid: int | None
    memcg_id: int | None
    message: str | None


@dataclass(frozen=True, slots=True)
class VictimEvent:
    """A process was killed or, if already dying, marked.

    Attributes:
        ktime: CLOCK_MONOTONIC nanoseconds.
        decision: None if it was not seen.
        memcg: The victim's memory cgroup and its ancestors up to the root.
        memcg_path: Names of the same cgroups, leaf first, without the root.
        unified_id, unified_path: The victim's cgroup in the version 2 hierarchy.
        stack: Return addresses, innermost first; only where no decision was seen.
        signalled_at: When SIGKILL was sent, CLOCK_MONOTONIC nanoseconds; the Context and Exit of the victim have the
            same value.
        exec_args: The first 256 bytes of its arguments at exec, and their full size; None: no exec was seen.
        ordinal: Ordinal of this kill since the probes were attached; the source replaces it with the ordinal since
            boot. None: not counted by the kernel.
    """

    kind: Kind
    ktime: int
    victim: Victim
    trigger: Task
    decision: Decision | None
    memcg_version: int | None
    memcg: tuple[MemcgLevel, ...]
    memcg_path: tuple[str, ...] | None
    unified_id: int | None
    unified_path: tuple[str, ...] | None
    trigger_memcg_ids: tuple[int, ...]
    trigger_memcg_path: tuple[str, ...] | None
    stack: tuple[int, ...]
    signalled_at: int | None = None
    exec_args: tuple[bytes, int] | None = None
    ordinal: int | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A process for which the kernel computed badness; points in pages, names of the path leaf first."""

    pid: int | None
    points: int
    oom_score_adj: int | None
    comm: str | None
    memcg_path: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Ranking:
    """The kernel's candidates; `ktime` is that of the Decision they belong to.

    Attributes:
        weighed: Number of eligible processes.
        best: Those with the most points, in the kernel's order of preference.
    """

    ktime: int
    weighed: int
    best: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True)
class Socket:
    """One socket of a victim; numbers as in the kernel (struct sock_common).

    Attributes:
        local, remote: IP address of 4 or 16 bytes, or the name of a Unix domain socket (sun_path); None: no address.
    """

    fd: int
    family: int
    protocol: int | None
    state: int | None
    local: bytes | None
    remote: bytes | None
    local_port: int | None = None
    remote_port: int | None = None


@dataclass(frozen=True, slots=True)
class Descriptors:
    """The file descriptor table, as far as it was walked.

    Attributes:
        kinds: Number of open files by type, indexed by S_IFMT >> 12 (inode(7)); 0: anonymous inodes.
        tcp, udp, unix: Number of sockets of that kind.
        all: Whether the whole table was walked.
        sockets: The first 32 TCP and UDP sockets, then the first 16 Unix domain sockets with a name.
    """

    kinds: tuple[int, ...]
    tcp: int
    udp: int
    unix: int
    all: bool
    sockets: tuple[Socket, ...]


@dataclass(frozen=True, slots=True)
class Context:
    """What a victim was doing, read in its own context when SIGKILL was delivered to it.

    Attributes:
        pid: Process id in the initial pid namespace.
        ktime: CLOCK_MONOTONIC nanoseconds.
        signalled_at: As in the VictimEvent it belongs to.
        arguments: Memory from mm->arg_start, at most 4 KiB, including the part of a long title that overwrote the
            environment.
        arguments_size: Bytes from arg_start to arg_end.
        arguments_end: The last byte before arg_end; not 0 if a title overwrote it.
        environment: Memory from mm->env_start, at least the first 16 KiB; None if not requested.
        environment_size: Bytes from env_start to env_end.
        working_directory, executable: Names, leaf first.
    """

    pid: int
    ktime: int
    signalled_at: int
    arguments: bytes | None
    arguments_size: int | None
    arguments_end: int | None
    environment: bytes | None
    environment_size: int | None
    working_directory: tuple[str, ...] | None
    executable: tuple[str, ...] | None
    descriptors: Descriptors | None


@dataclass(frozen=True, slots=True)
class Exit:
    """The last thread of a victim has exited.

    Attributes:
        pid: Process id in the initial pid namespace.
        ktime: CLOCK_MONOTONIC nanoseconds.
        signalled_at: As in the VictimEvent it belongs to.
        maxrss: Peak resident set in pages, as in getrusage(2).
    """

    pid: int
    ktime: int
    signalled_at: int
    maxrss: int | None


@dataclass(frozen=True, slots=True)
class RepeatKill:
    """The kernel killed and counted a victim a second time, with its group; `ordinal` as in a VictimEvent."""

    ktime: int
    tid: int | None
    ordinal: int


@dataclass(frozen=True, slots=True)
class Sigkill:
    """A process was sent SIGKILL from user space; it was not dying before.

    Attributes:
        ktime: CLOCK_MONOTONIC nanoseconds.
        cgroup_kill: Whether it is known that a write to cgroup.kill sent it.
        sender, sender_uid: The thread that sent it, and its real user id in the initial user namespace.
        memcg_id, memcg_path, unified_id, unified_path, exec_args: As in a VictimEvent.
    """

    ktime: int
    cgroup_kill: bool
    sender: Task
    sender_uid: int | None
    victim: Victim
    memcg_version: int | None = None
    memcg_id: int | None = None
    memcg_path: tuple[str, ...] | None = None
    unified_id: int | None = None
    unified_path: tuple[str, ...] | None = None
    sender_memcg_path: tuple[str, ...] | None = None
    sender_unified_path: tuple[str, ...] | None = None
    exec_args: tuple[bytes, int] | None = None


LinePart = VictimEvent | Ranking | Context | Exit
"""Events that contribute to a line."""

ProbeEvent = LinePart | RepeatKill
"""Everything that the BPF side sends; each event has a `ktime`."""
