# SPDX-License-Identifier: Apache-2.0
"""Suggestions about what a kill takes with it, and what would have delayed it. Pure."""

from __future__ import annotations

from ooMtrace.explain.amounts import count, size
from ooMtrace.explain.case import VERSION_2, Case

OWNERS = {
    "kubernetes": "singleProcessOOMKill: true in the kubelet's configuration (1.32) spares the others",
    "systemd": "OOMPolicy=continue or stop in the unit does not set it",
}


def group_member(case: Case) -> str | None:
    """It died because of another one in its group."""
    if case.facts.word("oom.verdict") != "group_member":
        return None
    return f"{_all_died(case)} Explain the line of the same incident whose verdict is `killed`: that one has the cause."


def group(case: Case) -> str | None:
    """Others died with it."""
    members = case.facts.amount("oom.group.size")
    if case.facts.word("oom.verdict") == "group_member" or not members or members < 2:  # noqa: PLR2004
        return None
    return _all_died(case)


def _all_died(case: Case) -> str:
    members, path = case.facts.amount("oom.group.size"), case.facts.path("oom.group.path")
    number = f"All {count(members)} processes" if members else "All processes"
    how = OWNERS.get(case.facts.word("oom.group.set_by") or "", "a 0 in memory.oom.group spares the others")
    return f"{number} of {path or 'the cgroup'} died, because memory.oom.group is set: {how}."


def unit_stopped(case: Case) -> str | None:
    """Systemd stops the rest of the unit."""
    policy = case.facts.word("systemd.oom_policy")
    if not case.facts.is_true("systemd.stops_unit") or policy != "stop":
        return None
    unit = case.facts.text("systemd.unit", 80) or "the unit"
    return f"systemd now stops the rest of {unit} (OOMPolicy=stop): set OOMPolicy=continue if that can go on alone."


def no_swap(case: Case) -> str | None:
    """Heap that nobody uses cannot be swapped out."""
    anon = case.facts.amount("process.memory.anon")
    if case.scope != "memcg" or not case.limit or anon is None or case.facts.word("oom.verdict") == "group_member":
        return None
    if case.facts.number("oom.memcg.version") != VERSION_2 or case.facts.amount("oom.limit_bytes") != case.limit:
        return None
    if anon * 2 < case.limit:
        return None
    setting = "memory.swap.max is 0" if case.facts.number("oom.memcg.swap_limit") == 0 else "no swap was usable"
    return f"{setting}, so all {size(anon)} of heap stays in RAM: with swap, its unused part would not count here."
