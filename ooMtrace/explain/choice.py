# SPDX-License-Identifier: Apache-2.0
"""Why this process was chosen, what would have changed that, and who asked for memory. Pure."""

from __future__ import annotations

from ooMtrace.explain.amounts import count, plural, size
from ooMtrace.explain.case import Case
from ooMtrace.explain.facts import Facts
from ooMtrace.explain.layout import Block, fact

PARTS = {"rss": "resident", "swap": "in swap", "page_tables": "page tables", "adj": "adj"}
SYSRQ_ORDER = -1
MAX_ORDER = 20


def chosen(case: Case) -> list[Block]:
    """Return the points as a sum, the ranking, and what would have changed it."""
    facts = case.facts
    if facts.word("oom.verdict") == "group_member":
        path = facts.path("oom.group.path")
        return [fact("chosen", [f"not by points: memory.oom.group of {path or 'its cgroup'} kills all in it"], 1)]
    if facts.word("oom.verdict") == "shared_mm":
        return [fact("chosen", ["not by points: it shared the memory of the process that was chosen"], 1)]
    blocks = [fact("chosen", [_sum(facts) or _adj(facts), _ranking(case)], 1), fact("", [_alternative(case)], 3)]
    return [block for block in blocks if block.lines]


def _sum(facts: Facts) -> str:
    total = facts.number("oom.points.total")
    if total is None:
        return ""
    known = {name: facts.number(f"oom.points.{name}") for name in PARTS}
    terms = [(PARTS[name], value) for name, value in known.items() if value or (name != "swap" and value is not None)]
    if not terms or len(terms) == 1:
        return f"{count(total)} points"
    first, *rest = terms
    shown = f"{count(first[1])} {first[0]}" + "".join(f" {_signed(value)} {name}" for name, value in rest)
    if None not in known.values() and sum(value or 0 for value in known.values()) == total:
        return f"{count(total)} points = {shown}"
    missing = [PARTS[name] for name, value in known.items() if value is None]
    why = f"{' and '.join(missing)} not known" if missing else "read a moment later, so the sum differs"
    return f"{count(total)} points; parts: {shown} ({why})"


def _adj(facts: Facts) -> str:
    """Return the adjustment where the points are not known."""
    adj = facts.number("process.oom_score_adj")
    return f"with oom_score_adj {adj}; its points are not known" if adj else ""


def _signed(value: int) -> str:
    return f"- {count(-value)}" if value < 0 else f"+ {count(value)}"


def _ranking(case: Case) -> str:
    weighed = case.facts.amount("oom.weighed")
    if weighed == 1:
        return "the only process that could be chosen"
    if not case.rivals:
        return f"the kernel compared {plural(weighed, 'process', 'processes')}" if weighed else ""
    rival = case.rivals[0]
    of = f"first of {count(weighed)} processes; " if weighed else ""
    return f"{of}next: {_named(rival)} with {count(rival.number('points') or 0)} points"


def _alternative(case: Case) -> str:
    if not case.rivals:
        return ""
    adj = case.facts.number("process.oom_score_adj")
    if case.sparing_adj is not None:
        return f"at oom_score_adj {case.sparing_adj} or less (not {adj}), the next one would have died"
    if case.largest is not None and case.largest.number("oom_score_adj") is not None:
        held, points = case.largest.amount("memory") or 0, case.largest.number("oom_score_adj")
        return f"{_named(case.largest)} held more, {size(held)}, but has oom_score_adj {points}"
    return ""


def _named(process: Facts) -> str:
    comm, pid = process.text("comm", 20) or "a process", process.number("pid")
    return comm if pid is None else f"{comm} (pid {pid})"


def asked_by(case: Case) -> list[Block]:
    """Return whose request for memory failed, and of what kind it was."""
    facts = case.facts
    trigger = Facts({"comm": facts.word("oom.trigger.comm"), "pid": facts.number("oom.trigger.pid")})
    if not facts.has("oom.trigger") or case.scope == "sysrq":
        return []
    tid = facts.number("oom.trigger.tid")
    if case.is_own_trigger:
        comm = facts.text("oom.trigger.comm", 20)
        is_thread = tid not in (None, facts.number("process.pid"))
        named = f"its own thread {comm}" if comm else "its own thread"
        who = f"{named} (tid {tid})" if is_thread else "the process itself"
    else:
        path = facts.path("oom.trigger.cgroup")
        is_other = path is not None and path != facts.path("cgroup.path")
        who = _named(trigger) + (f" in {path}" if is_other else "")
    return [fact("asked by", [who + _request(case)], 2)]


def _request(case: Case) -> str:
    order, flags = case.facts.number("oom.order"), case.facts.texts("oom.gfp_mask.flags")
    words = []
    if order is not None and 0 <= order <= MAX_ORDER:
        words.append("one page" if order == 0 else f"{count(1 << order)} pages in a row")
    if flags:
        words.append("|".join(flags[:3]))
    return f", for {', '.join(words)}" if words else ""
