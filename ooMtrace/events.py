# SPDX-License-Identifier: Apache-2.0
"""What the kernel side saw at one instant, decoded but not yet judged. Numbers are in the kernel's own units."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """What happened to the process (enum kind in bpf/events.h)."""

    DYING = 1
    KILLED = 2
    SHARER = 3


@dataclass(frozen=True, slots=True)
class Task:
    """A process or thread; ids are those of the initial pid namespace, `vpid` that of the innermost."""

    pid: int | None
    tid: int | None
    vpid: int | None
    comm: str | None


@dataclass(frozen=True, slots=True)
class Rss:
    """The four counters of mm_struct.rss_stat, in pages."""

    file: int | None
    anon: int | None
    swap: int | None
    shmem: int | None


@dataclass(frozen=True, slots=True)
class Victim:
    """What only the victim has; times are CLOCK_BOOTTIME nanoseconds."""

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
    """One memory cgroup on the way from the victim's own to the root; sizes in pages."""

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
    """struct oom_control (include/linux/oom.h) on entry of oom_kill_process(); `ktime` is CLOCK_MONOTONIC."""

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
    """One record of the kernel side.

    Attributes:
        ktime: CLOCK_MONOTONIC nanoseconds.
        memcg_path: Names from the victim's memory cgroup to the root, leaf first; None if it could not be read.
        memcg: The same cgroups, the root included.
        stack: Return addresses of the kernel path, innermost first.
        signalled_at: When SIGKILL was sent, CLOCK_MONOTONIC nanoseconds; by this a Context is known to belong here.
        exec_args: The first 256 bytes of its arguments at exec, and how many there were; None: no exec was seen.
        ordinal: Of this kill since the probes were attached and, from the source on, since boot; None: not counted.
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
    """A process that the kernel weighed; points in pages, names of the path leaf first."""

    pid: int | None
    points: int
    oom_score_adj: int | None
    comm: str | None
    memcg_path: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Ranking:
    """What the kernel weighed before it decided; `ktime` is the Decision's.

    Attributes:
        weighed: How many processes were eligible.
        best: The best of them, in the kernel's order.
    """

    ktime: int
    weighed: int
    best: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True)
class Socket:
    """One socket of a victim; numbers as in the kernel (struct sock_common).

    Attributes:
        local, remote: Addresses: 4 or 16 bytes, or the name of a Unix domain socket (sun_path); None: there is none.
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
    """The table of open files, as far as it was walked.

    Attributes:
        kinds: How many of each kind, by S_IFMT >> 12 (inode(7)); 0: anonymous inodes.
        tcp, udp, unix: How many of the sockets were of that kind.
        all: Whether it was walked to its end.
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
        pid: The process.
        ktime: When, CLOCK_MONOTONIC nanoseconds.
        signalled_at: as in the VictimEvent that it belongs to.
        arguments: The memory from mm->arg_start on, 4 KiB at most, with what a long title has written over the
            environment.
        arguments_size: Bytes from arg_start to arg_end.
        arguments_end: The last byte there: not 0 if a title was written over it.
        environment: The memory from mm->env_start on, 16 KiB and more; None if not asked for.
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
    """A victim is gone: its last thread has exited.

    Attributes:
        signalled_at: as in the VictimEvent that it belongs to.
        maxrss: The most it ever had resident, pages.
    """

    pid: int
    ktime: int
    signalled_at: int
    maxrss: int | None


@dataclass(frozen=True, slots=True)
class RepeatKill:
    """The kernel has killed and counted once more who was marked before; `ordinal` as in a VictimEvent."""

    ktime: int
    tid: int | None
    ordinal: int


LinePart = VictimEvent | Ranking | Context | Exit
"""What a line is made of."""

ProbeEvent = LinePart | RepeatKill
"""What comes from the kernel side; each has a `ktime`."""
