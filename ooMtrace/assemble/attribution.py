# SPDX-License-Identifier: Apache-2.0
"""Why the kernel killed one victim: scope, memory cgroup, limit and points. Pure.

Read from the kernel's decision; derived from stack, limits and counters where the decision could not be read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from ooMtrace.events import Decision, MemcgLevel, Rss, VictimEvent
from ooMtrace.kernel.snapshot import HostSnapshot
from ooMtrace.record import SCOPES, Points, Scope

CONSTRAINTS = tuple(SCOPES)
LONG_MAX = (1 << 63) - 1
ALLOCATING_TASK = "(oom_kill_allocating_task)"
UNLIMITED = LONG_MAX >> 16
"""Pages. PAGE_COUNTER_MAX (LONG_MAX / PAGE_SIZE) for the largest page size, 64 KiB: from here on there is no limit."""

MAX_CGROUPS = 128
"""Memory cgroups that the BPF side examines, from the victim's own towards the root."""

UNKNOWN_RSS = Rss(None, None, None, None)

Symbols = Mapping[str, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Attribution:
    """Why the kernel killed one victim.

    Attributes:
        memcg_index: Which of the event's memory cgroups was out of memory; None: none of them.
        limit: `totalpages`: what badness is measured against, in pages.
        rss: The reading of the memory counters that the points are computed from.
        derived: Facts computed here, not read from the kernel's decision.
    """

    scope: Scope | None
    constraint: str | None
    memcg_index: int | None
    limit: int | None
    points: Points
    rss: Rss
    derived: tuple[str, ...]


def attribute(event: VictimEvent, symbols: Symbols, snapshot: HostSnapshot, *, summed: bool = False) -> Attribution:
    """Return why the kernel killed; `summed` as in `points`."""
    decision = event.decision
    constraint = None
    if decision is None:
        scope, memcg_index = _derived_domain(event, symbols, snapshot)
        limit = derived_limit(event, scope, memcg_index, snapshot)
    else:
        scope, constraint = scope_from_decision(decision)
        memcg_index = next((i for i, memcg in enumerate(event.memcg) if memcg.id == decision.memcg_id), None)
        limit = decision.totalpages
    total = kernel_total(event)
    badness, rss = points(event, limit, total, snapshot, summed=summed)
    is_derived = {
        "oom.scope": decision is None and scope is not None,
        "oom.limit_bytes": decision is None and limit is not None,
        "oom.memcg": decision is None and memcg_index is not None,
        "oom.points": total is None and badness.total is not None,
    }
    derived = tuple(filter(is_derived.get, is_derived))
    return Attribution(scope, constraint, memcg_index, limit, badness, rss, derived)


def _derived_domain(event: VictimEvent, symbols: Symbols, snapshot: HostSnapshot) -> tuple[Scope | None, int | None]:
    scope = scope_from_stack(event.stack, symbols)
    if scope == "global" and snapshot.nodes != 1:  # or a cpuset or memory policy: the code path is the same
        scope = None
    return scope, nearest_limit(event) if scope == "memcg" else None


def scope_from_decision(decision: Decision) -> tuple[Scope | None, str | None]:
    """Return scope and constraint from struct oom_control; moom_callback() (sysrq-f) sets order to -1."""
    if decision.constraint is None or not 0 <= decision.constraint < len(CONSTRAINTS):
        return None, None
    constraint = CONSTRAINTS[decision.constraint]
    return ("sysrq" if decision.order == -1 else SCOPES[constraint]), constraint


def in_stack(stack: tuple[int, ...], symbols: Symbols, name: str) -> bool | None:
    """Say whether a kernel function is on the call stack; None if its address is not known."""
    start, end = symbols.get(name, (0, 0))
    if not start:
        return None
    return _has_address(stack, start, end)


@lru_cache(64)  # the kills of a storm have the same stack
def _has_address(stack: tuple[int, ...], start: int, end: int) -> bool:
    return any(start < address <= end for address in stack)


def scope_from_stack(stack: tuple[int, ...], symbols: Symbols) -> Scope | None:
    """Return the scope from the functions on the call stack; None if it cannot be determined."""
    is_memcg = in_stack(stack, symbols, "mem_cgroup_out_of_memory")
    if not stack or is_memcg is None:
        return None
    if is_memcg:
        return "memcg"
    return "sysrq" if in_stack(stack, symbols, "moom_callback") else "global"


def nearest_limit(event: VictimEvent) -> int | None:
    """Return the index of the memory cgroup that is out of memory.

    That is the common ancestor of trigger and victim that is nearest to its limit. A cgroup that contains
    only the victim may also be at its limit, full of reclaimable page cache; but try_charge_memcg() charges the
    trigger's cgroup and its ancestors. Only if none of those has a limit (a write to memory.max comes from elsewhere),
    any cgroup of the victim is accepted. Usage may have dropped below the limit since: another CPU may have returned
    its stock of charges (drain_local_stock()). None if there is no limit, or more cgroups than were examined: the limit
    may be that of one further up.
    """
    if len(event.memcg) >= MAX_CGROUPS and not _reaches_root(event):
        return None
    margins = {
        i: margin for i, memcg in enumerate(event.memcg) if (margin := _margin(memcg, event.memcg_version)) is not None
    }
    shared = {i: margin for i, margin in margins.items() if event.memcg[i].id in event.trigger_memcg_ids}
    return min(shared or margins, key=(shared or margins).__getitem__, default=None)


def _reaches_root(event: VictimEvent) -> bool:
    """Say whether the last memory cgroup of an event is known to be the root, which has no name in the path."""
    return event.memcg_path is not None and len(event.memcg) > len(event.memcg_path)


def _margin(memcg: MemcgLevel, version: int | None) -> int | None:
    """Return how many pages may still be charged; None if there is no limit.

    On version 1, memory plus swap (memsw) has its own limit, which may be reached first.
    """
    counters = [(memcg.usage, memcg.max)]
    if version == 1:
        counters.append((memcg.swap_usage, memcg.swap_max))
    margins = [
        max(limit - usage, 0)
        for usage, limit in counters
        if usage is not None and limit is not None and limit < UNLIMITED
    ]
    return min(margins, default=None)


def derived_limit(
    event: VictimEvent, scope: Scope | None, memcg_index: int | None, snapshot: HostSnapshot
) -> int | None:
    """Recompute `totalpages` as constrained_alloc() and mem_cgroup_get_max() do, in pages."""
    if scope == "memcg":
        return None if memcg_index is None else memcg_limit(event.memcg[memcg_index], event.memcg_version, snapshot)
    if scope in ("global", "sysrq") and snapshot.ram is not None:
        return snapshot.ram + (snapshot.swap or 0)
    return None


def memcg_limit(memcg: MemcgLevel, version: int | None, snapshot: HostSnapshot) -> int | None:
    """Compute mem_cgroup_get_max(): the limit plus the swap that may be used, if swapping is enabled at all; pages."""
    if memcg.max is None:
        return None
    swappiness = memcg.swappiness if version == 1 else snapshot.swappiness
    if not snapshot.swap or not swappiness or memcg.swap_max is None:
        return memcg.max
    swap = memcg.swap_max - memcg.max if version == 1 else memcg.swap_max
    return memcg.max + min(max(swap, 0), snapshot.swap)


def kernel_total(event: VictimEvent) -> int | None:
    """Return the points that the kernel computed for this process; None if it computed none.

    It computes none for members of a group and for a trigger killed by vm.oom_kill_allocating_task. LONG_MAX marks a
    task that set oom_flag_origin (swapoff, ksm).
    """
    decision = event.decision
    if decision is None or decision.chosen_pid != event.victim.task.pid or decision.chosen_points == LONG_MAX:
        return None
    if decision.message and ALLOCATING_TASK in decision.message:
        return None
    return decision.chosen_points


def points(
    event: VictimEvent, limit: int | None, total: int | None, snapshot: HostSnapshot, *, summed: bool
) -> tuple[Points, Rss]:
    """Return the parts of the badness, in pages, and the reading of the memory counters they are computed from.

    Some kernels add every CPU's part of the counters (`rss_sum`), others do not (`rss`), and their type information
    does not show which. The reading that matches the kernel's `total` is the right one; without a total, `summed`
    selects `rss_sum`.
    """
    victim = event.victim
    tables = None if victim.pgtables_bytes is None else victim.pgtables_bytes // snapshot.page_size
    adj = 0 if victim.oom_score_adj == 0 else None
    if victim.oom_score_adj and limit is not None:
        adj = victim.oom_score_adj * (limit // 1000)
    readings = [victim.rss, victim.rss_sum]
    if (summed and victim.rss_sum != UNKNOWN_RSS) or _resident(victim.rss) is None:
        readings.reverse()
    sums = [_sum(_resident(rss), rss.swap, tables, adj) for rss in readings]
    chosen = sums.index(total) if total is not None and total in sums else 0
    rss = readings[chosen]
    badness = Points(
        total=sums[chosen] if total is None else total,
        rss=_resident(rss),
        swap=rss.swap,
        page_tables=tables,
        adj=adj,
        exact=None if total is None or sums[chosen] is None else sums[chosen] == total,
    )
    return badness, rss


def _resident(rss: Rss) -> int | None:
    return _sum(rss.file, rss.anon, rss.shmem)


def _sum(*parts: int | None) -> int | None:
    return None if None in parts else sum(filter(None, parts))
