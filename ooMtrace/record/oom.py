# SPDX-License-Identifier: Apache-2.0
"""The record's part on the OOM: why the kernel killed, and why this process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ooMtrace.record.fields import always, expected, optional

Verdict = Literal["killed", "group_member", "shared_mm"]
Scope = Literal["memcg", "global", "cpuset", "mempolicy", "sysrq"]
SCOPES: dict[str, Scope] = {
    "CONSTRAINT_NONE": "global",
    "CONSTRAINT_CPUSET": "cpuset",
    "CONSTRAINT_MEMORY_POLICY": "mempolicy",
    "CONSTRAINT_MEMCG": "memcg",
}
"""enum oom_constraint (include/linux/oom.h), in its order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GfpMask:
    """What kind of memory was asked for."""

    raw: str = always("The kernel's gfp_mask, hexadecimal")
    flags: tuple[str, ...] | None = expected("The same by the kernel's names")


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
    number: int | None = optional(
        "The how-manieth kill since boot: what the kernel's own count (oom_kill in /proc/vmstat) says with it. That"
        " counts the first victim of a group kill twice, and no process that only shared memory"
    )
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
