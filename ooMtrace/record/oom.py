# SPDX-License-Identifier: Apache-2.0
"""The `oom` object of a record: why the kernel killed, and why it chose this process, or why it killed nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ooMtrace.record.fields import always, expected, optional

Verdict = Literal["killed", "group_member", "shared_mm"]
Scope = Literal["memcg", "global", "cpuset", "mempolicy", "sysrq"]
GroupOwner = Literal["kubernetes", "systemd"]
LimitOwner = Literal["container", "pod", "qos", "kubepods", "job", "unit", "slice", "cgroup", "node"]
SCOPES: dict[str, Scope] = {
    "CONSTRAINT_NONE": "global",
    "CONSTRAINT_CPUSET": "cpuset",
    "CONSTRAINT_MEMORY_POLICY": "mempolicy",
    "CONSTRAINT_MEMCG": "memcg",
}
"""enum oom_constraint (include/linux/oom.h), in the kernel's order."""

NoKillReason = Literal["no_killable_process", "panic"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GfpMask:
    """What kind of memory was requested."""

    raw: str = always("The gfp_mask of the failed allocation, hexadecimal")
    flags: tuple[str, ...] | None = expected("The kernel's names of the flags that are set")


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """The badness of the victim, oom_badness() in mm/oom_kill.c, in pages."""

    total: int | None = expected(
        "Badness in pages: rss + swap + page_tables + adj. The value that the kernel computed; if it computed none for"
        " this process or it could not be read, computed by oomtrace and named in `derived`"
    )
    rss: int | None = expected("Resident pages: anonymous, file and shared memory")
    swap: int | None = expected("Pages in swap")
    page_tables: int | None = expected("Pages used by page tables")
    adj: int | None = expected("Pages that oom_score_adj adds or subtracts: oom_score_adj * (totalpages / 1000)")
    exact: bool | None = optional(
        "Whether the parts add up to the total that the kernel computed; absent if that total is not known"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """The task whose allocation failed and invoked the OOM killer; not necessarily the victim."""

    pid: int | None = expected("Process id in the initial pid namespace")
    tid: int | None = expected("Thread id in the initial pid namespace")
    comm: str | None = expected("Name of the thread (comm)")
    cgroup: str | None = expected("Path of its memory cgroup")


@dataclass(frozen=True, slots=True, kw_only=True)
class MemcgEvents:
    """Event counters of a memory cgroup: memory.events."""

    high: int | None = optional("Times that processes were throttled because usage exceeded memory.high")
    max: int | None = optional("Times that usage was about to exceed the limit")
    oom: int | None = optional("Times that an allocation was about to fail because the limit was reached")
    oom_kill: int | None = optional("Number of processes killed by any kind of OOM killer")
    oom_group_kill: int | None = optional("Number of group kills; Linux 5.17 and later")


@dataclass(frozen=True, slots=True, kw_only=True)
class Memcg:
    """The memory cgroup that was out of memory: the victim's own or an ancestor of it."""

    path: str | None = expected("Path from the root of its hierarchy: `oom_memcg` in the kernel log")
    id: str | None = expected("Inode number of the cgroup's directory")
    version: int | None = expected("Cgroup version of the memory controller: 1 or 2")
    usage: int | None = expected("Memory charged to the cgroup at the kill, in bytes")
    limit: int | None = expected("Memory limit in bytes: memory.max; memory.limit_in_bytes on version 1")
    high: int | None = optional("Throttling threshold memory.high in bytes, if set")
    peak: int | None = optional("Highest usage recorded so far, in bytes")
    swap: int | None = optional("Swap charged to the cgroup, in bytes")
    swap_limit: int | None = optional("Swap that the cgroup may use, in bytes, if limited")
    events: MemcgEvents | None = expected(
        "Event counters (memory.events): on version 2 they include all descendants and this kill, on version 1 only the"
        " cgroup itself"
    )
    stat: Mapping[str, int] | None = optional(
        "Statistics that the kernel printed, by its names in memory.stat: sizes in bytes, and counts of events. Without"
        " the cgroups below it on version 1, except in `total_...`; only at fidelity `log`"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The cgroup that the kernel killed as a whole because of its memory.oom.group."""

    path: str | None = expected("Path of the cgroup whose memory.oom.group is set")
    size: int | None = expected("Number of processes that the kernel killed in this incident")
    set_by: GroupOwner | None = optional(
        "Who sets memory.oom.group there. `kubernetes`: the kubelet, since 1.28 for all containers on cgroup version 2"
        " unless its singleProcessOOMKill is true. `systemd`: the unit has OOMPolicy=kill. Named in `derived`, because"
        " it follows from what the cgroup is; absent if it is neither"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A process that the kernel considered."""

    pid: int | None = expected("Process id in the initial pid namespace")
    comm: str | None = expected("Name of the process (comm)")
    points: int | None = expected(
        "Badness that the kernel computed, in pages; absent in `oom_no_kill` for a process that cannot be killed"
    )
    oom_score_adj: int | None = expected("The process's oom_score_adj, -1000 to 1000")
    memory: int | None = expected("Resident memory, swap and page tables in bytes: `points` without oom_score_adj")
    cgroup: str | None = expected("Path of its memory cgroup")


@dataclass(frozen=True, slots=True, kw_only=True)
class Oom:
    """Why the kernel killed, and why it chose this process."""

    incident: str = always("Identifier of the incident: the same in all lines of one run of the OOM killer")
    number: int | None = optional(
        "Ordinal of this kill since boot: the value of oom_kill in /proc/vmstat when it is counted. The kernel counts"
        " the first victim of a group kill twice, and does not count processes killed only for sharing memory"
    )
    verdict: Verdict | None = optional(
        "Why this process was killed. `killed`: the kernel chose it. `group_member`: it belongs to the cgroup that was"
        " killed as a whole (memory.oom.group). `shared_mm`: it shares the memory of the chosen process. Absent for"
        " `oom_dying`, and if a kernel log does not show it"
    )
    reason: NoKillReason | None = optional(
        "Why nothing was killed; only with `oom_no_kill`. `no_killable_process`: no process could be killed; if the"
        " host is out of memory, the kernel panics. `panic`: the kernel panicked instead of killing, because of"
        " vm.panic_on_oom"
    )
    scope: Scope | None = expected(
        "What ran out of memory. `memcg`: a memory cgroup reached its limit. `global`: the host. `cpuset`: the memory"
        " nodes of a cpuset. `mempolicy`: the memory nodes of a NUMA memory policy. `sysrq`: nothing; the kill was"
        " requested with SysRq-f"
    )
    constraint: str | None = expected("The kernel's enum oom_constraint, such as `CONSTRAINT_MEMCG`")
    nodemask: str | None = optional(
        "Memory nodes to which a memory policy restricted the failed allocation, as a list such as `0-1,4`; absent"
        " without such a restriction; only at fidelity `log`"
    )
    cpuset: str | None = optional("Name of the trigger's cpuset; `/` is the root; only at fidelity `log`")
    mems_allowed: str | None = optional(
        "Memory nodes that the trigger's cpuset allows, as a list such as `0-1,4`; only at fidelity `log`"
    )
    gfp_mask: GfpMask | None = expected("Allocation flags of the request that failed")
    order: int | None = expected("Size of the failed allocation: 2^order pages; -1 for SysRq-f")
    points: Points | None = expected("Badness of the victim and its parts, in pages")
    score: int | None = optional(
        "Score that the kernel printed for the process it chose, if that is the victim: points * 1000 / totalpages, so"
        " thousandths of `limit_bytes`; only at fidelity `log`, Linux 5.0 and earlier"
    )
    limit_bytes: int | None = expected(
        "Memory that badness is relative to (`totalpages`), in bytes: the cgroup's limit or the host's RAM, plus the"
        " swap that may be used"
    )
    limit_owner: LimitOwner | None = optional(
        "Whose limit was hit. `container`. `pod`: a Kubernetes or podman pod. `qos`: all pods of one quality of service"
        " class. `kubepods`: all pods of the node. `job`: a job, step or slot of a batch system, or a Nomad or ECS"
        " task. `unit` or `slice`: of systemd. `cgroup`: another cgroup. `node`: no limit; the host ran out of memory."
        " Absent with scope `cpuset`, `mempolicy` and `sysrq`"
    )
    trigger: Trigger | None = expected("Task whose allocation failed; not necessarily the victim")
    memcg: Memcg | None = optional("Memory cgroup that reached its limit; only with scope `memcg`")
    group: Group | None = optional("Cgroup killed as a whole; only if memory.oom.group is set")
    weighed: int | None = optional(
        "Number of processes that the kernel considered; only for the chosen process, at fidelity `full`. At fidelity"
        " `log`: the processes that can be killed in the kernel's table, as far as the log has it"
    )
    candidates: tuple[Candidate, ...] | None = optional(
        "Up to ten of the processes considered: those with the most points, the chosen one first"
    )
