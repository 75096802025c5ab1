# SPDX-License-Identifier: Apache-2.0
"""Why the kernel killed: domain, limit and points of one sighting. Pure.

They come from the kernel's own decision or, where that could not be read, from what it left to be seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ooMtrace.events import Decision, MemcgLevel, Rss, VictimEvent
from ooMtrace.kernel.snapshot import HostSnapshot
from ooMtrace.record import SCOPES, Points, Scope

CONSTRAINTS = tuple(SCOPES)
LONG_MAX = (1 << 63) - 1
ALLOCATING_TASK = "(oom_kill_allocating_task)"
UNLIMITED = LONG_MAX >> 16
"""Pages: at or above PAGE_COUNTER_MAX (LONG_MAX / PAGE_SIZE) of the largest page size, 64 KiB, there is no limit."""

UNKNOWN_RSS = Rss(None, None, None, None)

Symbols = Mapping[str, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Attribution:
    """The answer; `derived` names the parts that are not the kernel's own word.

    Attributes:
        level: Which of the sighting's memory cgroups was out of memory; None: none of them.
        limit: What the points are measured against (`totalpages`), in pages.
        rss: Which reading of the counters the kernel's total confirms.
    """

    scope: Scope | None
    constraint: str | None
    level: int | None
    limit: int | None
    points: Points
    rss: Rss
    derived: tuple[str, ...]


def attribute(seen: VictimEvent, symbols: Symbols, now: HostSnapshot, *, summed: bool = False) -> Attribution:
    """Find out why the kernel killed; `summed` as in `points`."""
    decision = seen.decision
    constraint = None
    if decision is None:
        scope, level = _derived_domain(seen, symbols, now)
        limit = derived_limit(seen, scope, level, now)
    else:
        scope, constraint = scope_from_decision(decision)
        level = next((i for i, memcg in enumerate(seen.memcg) if memcg.id == decision.memcg_id), None)
        limit = decision.totalpages
    total = kernel_total(seen)
    weighed, rss = points(seen, limit, total, now, summed=summed)
    worked_out = {
        "oom.scope": decision is None and scope is not None,
        "oom.limit_bytes": decision is None and limit is not None,
        "oom.memcg": decision is None and level is not None,
        "oom.points": total is None and weighed.total is not None,
    }
    derived = tuple(name for name, is_so in worked_out.items() if is_so)
    return Attribution(scope, constraint, level, limit, weighed, rss, derived)


def _derived_domain(seen: VictimEvent, symbols: Symbols, now: HostSnapshot) -> tuple[Scope | None, int | None]:
    scope = scope_from_stack(seen.stack, symbols)
    if scope == "global" and now.nodes != 1:  # it may as well be a cpuset or a memory policy: the path is the same
        scope = None
    return scope, nearest_limit(seen) if scope == "memcg" else None


def scope_from_decision(decision: Decision) -> tuple[Scope | None, str | None]:
    """Read struct oom_control: order -1 is what moom_callback() (sysrq-f) asks with."""
    if decision.constraint is None or not 0 <= decision.constraint < len(CONSTRAINTS):
        return None, None
    constraint = CONSTRAINTS[decision.constraint]
    return ("sysrq" if decision.order == -1 else SCOPES[constraint]), constraint


def in_stack(stack: tuple[int, ...], symbols: Symbols, name: str) -> bool | None:
    """Say whether a kernel function is on the path; None if its address is not known."""
    start, end = symbols.get(name, (0, 0))
    if not start:
        return None
    return any(start < address <= end for address in stack)


def scope_from_stack(stack: tuple[int, ...], symbols: Symbols) -> Scope | None:
    """Tell the kinds of OOM apart by the functions that led to the kill; None if that cannot be told."""
    if not stack or in_stack(stack, symbols, "mem_cgroup_out_of_memory") is None:
        return None
    if in_stack(stack, symbols, "mem_cgroup_out_of_memory"):
        return "memcg"
    return "sysrq" if in_stack(stack, symbols, "moom_callback") else "global"


def nearest_limit(seen: VictimEvent) -> int | None:
    """Find the memory cgroup out of memory: of those that hold both trigger and victim, the one nearest to its limit.

    A cgroup that holds the victim alone may well be at its limit, too, full of page cache that could be reclaimed;
    but try_charge_memcg() charges the trigger's cgroup and those above it. Only where nothing of the trigger's is
    limited (a write to memory.max comes from elsewhere) any cgroup of the victim's will do. It need not be quite at
    the limit any more: another CPU may have handed back its stock of charges (drain_local_stock()) meanwhile.
    """
    margins = {
        i: margin for i, memcg in enumerate(seen.memcg) if (margin := _margin(memcg, seen.memcg_version)) is not None
    }
    shared = {i: margin for i, margin in margins.items() if seen.memcg[i].id in seen.trigger_memcg_ids}
    return min(shared or margins, key=(shared or margins).__getitem__, default=None)


def _margin(memcg: MemcgLevel, version: int | None) -> int | None:
    """Return how many pages may still be charged; None: it has no limit.

    On version 1 memory and swap together have a limit of their own, and may reach it first.
    """
    counters = [(memcg.usage, memcg.max)]
    if version == 1:
        counters.append((memcg.swap_usage, memcg.swap_max))
    margins = [
        max(most - usage, 0) for usage, most in counters if usage is not None and most is not None and most < UNLIMITED
    ]
    return min(margins, default=None)


def derived_limit(seen: VictimEvent, scope: Scope | None, level: int | None, now: HostSnapshot) -> int | None:
    """Recompute `totalpages` as constrained_alloc() and mem_cgroup_get_max() do, in pages."""
    if scope == "memcg":
        return memcg_limit(seen.memcg[level], seen.memcg_version, now) if level is not None else None
    if scope in ("global", "sysrq") and now.ram is not None:
        return now.ram + (now.swap or 0)
    return None


def memcg_limit(memcg: MemcgLevel, version: int | None, now: HostSnapshot) -> int | None:
    """mem_cgroup_get_max(): the limit, and the swap that may be used if swapping is on at all."""
    if memcg.max is None:
        return None
    swappiness = memcg.swappiness if version == 1 else now.swappiness
    if not now.swap or not swappiness or memcg.swap_max is None:
        return memcg.max
    swap = memcg.swap_max - memcg.max if version == 1 else memcg.swap_max
    return memcg.max + min(max(swap, 0), now.swap)


def kernel_total(seen: VictimEvent) -> int | None:
    """The kernel's own points of this process, if it has weighed it.

    Not weighed are the members of a group, and a trigger killed by vm.oom_kill_allocating_task; LONG_MAX stands for
    a task that offered itself (swapoff, ksm).
    """
    decision = seen.decision
    if decision is None or decision.chosen_pid != seen.victim.task.pid or decision.chosen_points == LONG_MAX:
        return None
    if decision.message and ALLOCATING_TASK in decision.message:
        return None
    return decision.chosen_points


def points(
    seen: VictimEvent, limit: int | None, total: int | None, now: HostSnapshot, *, summed: bool
) -> tuple[Points, Rss]:
    """Take the badness apart, in pages, and return the counters that it was made of.

    Kernels differ in whether they weigh with every CPU's part of the counters (`rss_sum`) or without (`rss`), and
    nothing in their type information tells: the reading that the kernel's total confirms is the right one. Without a
    total `summed` says which to take.
    """
    victim = seen.victim
    tables = None if victim.pgtables_bytes is None else victim.pgtables_bytes // now.page_size
    adj = 0 if victim.oom_score_adj == 0 else None
    if victim.oom_score_adj and limit is not None:
        adj = victim.oom_score_adj * (limit // 1000)
    readings = [victim.rss, victim.rss_sum]
    if (summed and victim.rss_sum != UNKNOWN_RSS) or _resident(victim.rss) is None:
        readings.reverse()
    sums = [_sum(_resident(rss), rss.swap, tables, adj) for rss in readings]
    chosen = sums.index(total) if total is not None and total in sums else 0
    rss = readings[chosen]
    weighed = Points(
        total=sums[chosen] if total is None else total,
        rss=_resident(rss),
        swap=rss.swap,
        page_tables=tables,
        adj=adj,
        exact=None if total is None or sums[chosen] is None else sums[chosen] == total,
    )
    return weighed, rss


def _resident(rss: Rss) -> int | None:
    return _sum(rss.file, rss.anon, rss.shmem)


def _sum(*parts: int | None) -> int | None:
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None
