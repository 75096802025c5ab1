# SPDX-License-Identifier: Apache-2.0
"""Whose limit it was, how full, and of what. Pure."""

from __future__ import annotations

from ooMtrace.explain.amounts import percent, size, times
from ooMtrace.explain.case import VERSION_2, Case, Part
from ooMtrace.explain.layout import Block, fact

BAR = 30
MOST_BARS = 4
NAME = 13
OTHERS = 4
"""A rest that is less than one part in this many of the usage is not stated: counters lag behind by some pages."""

OWNERS = {
    "container": "the container",
    "pod": "the pod",
    "qos": "all pods of the QoS class",
    "kubepods": "all pods of the node",
    "job": "the job",
}


def memory(case: Case) -> list[Block]:
    """Return the limit and what filled it."""
    return [*_limit(case), *_bars(case), *_remarks(case)]


def _limit(case: Case) -> list[Block]:
    facts = case.facts
    if case.scope == "memcg":
        return [fact("limit", [_cgroup_limit(case)], 1)] if facts.has("oom.memcg") else []
    total = facts.amount("oom.limit_bytes")
    nodes = facts.text("oom.nodemask", 40) or facts.text("oom.mems_allowed", 40)
    if case.scope == "global" and total is not None:
        return [fact("limit", [f"{size(total)}: all RAM and swap of the host"], 1)]
    if case.scope in ("cpuset", "mempolicy") and (nodes or total is not None):
        words = [f"NUMA nodes: {nodes}" if nodes else "", f"{size(total)} there, swap included" if total else ""]
        return [fact("limit", [", ".join(word for word in words if word)], 1)]
    return []


def _cgroup_limit(case: Case) -> str:
    facts = case.facts
    owner, path = facts.word("oom.limit_owner") or "", facts.path("oom.memcg.path")
    unit = (path or "").rpartition("/")[2]
    name = OWNERS.get(owner) or (f"{owner} {unit}" if owner in ("unit", "slice") and unit else path)
    words = [f"{size(case.limit)} on {name or 'a cgroup'}" if case.limit is not None else f"of {name or 'a cgroup'}"]
    if case.usage is not None:
        words.append(f"used {size(case.usage)}")
    if hits := facts.amount("oom.memcg.events.max"):
        words.append(f"hit {times(hits)}")
    if case.limit is not None and facts.amount("oom.limit_bytes") == case.limit:
        words.append("no swap")
    elif swapped := facts.amount("oom.memcg.swap"):
        words.append(f"{size(swapped)} in swap")
    if throttled := facts.amount("oom.memcg.events.high"):
        words.append(f"throttled by memory.high {times(throttled)}")
    return ", ".join(words)


def _bars(case: Case) -> list[Block]:
    """Return a bar for each kind of memory: the cgroup's if the kernel printed that, else the victim's."""
    parts = case.charged or case.held
    whole = sum(part.size for part in parts)
    if not whole:
        return []
    shown = sorted((part for part in parts if percent(part.size, whole)), key=lambda part: -part.size)[:MOST_BARS]
    label = "in cgroup" if case.charged else "it held"
    return [fact(label, [_bar(part, whole) for part in shown], 2, most=1)]


def _bar(part: Part, whole: int) -> str:
    bar = "#" * (part.size * BAR // whole)
    return f"{part.name:<{NAME}} {size(part.size):>12}  {bar:<{BAR}} {percent(part.size, whole):>3} %"


def _remarks(case: Case) -> list[Block]:
    """Say how the victim's memory and that of the cgroup differ, if they do."""
    if case.limit is None or case.resident is None:
        return []
    if case.resident > case.limit:
        more = f"(it mapped {size(case.resident)}, above the limit: part is charged elsewhere)"
        return [fact("", [more], 3)]
    if case.others and case.usage and case.others * OTHERS >= case.usage:
        rest = "other processes, page cache, tmpfs or kernel memory"
        return [fact("", [f"(at least {size(case.others)} of the usage is not its own: {rest})"], 3)]
    return []


def also_killed(case: Case, earlier: str) -> list[Block]:
    """Return what else this cause has killed, by the kernel's counters and the lines before."""
    facts, sentences = case.facts, []
    kills = facts.amount("oom.memcg.events.oom_kill")
    if case.scope == "memcg" and kills and kills > 1:
        below = " and below" if facts.number("oom.memcg.version") == VERSION_2 else ""
        sentences.append(f"{kills:,} kills in this cgroup{below} since it was made")
    if (members := facts.amount("oom.group.size")) and members > 1:
        sentences.append(f"{members:,} processes in this incident (memory.oom.group)")
    if earlier:
        sentences.append(earlier)
    if not sentences and (number := facts.amount("oom.number")):
        sentences.append(f"this is kill number {number:,} since boot, of all causes")
    return [fact("also", ["; ".join(sentences)], 5)] if sentences else []
