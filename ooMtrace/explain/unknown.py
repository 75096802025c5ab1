# SPDX-License-Identifier: Apache-2.0
"""What a line does not say, and why. Pure."""

from __future__ import annotations

from ooMtrace.explain.case import Case
from ooMtrace.explain.facts import Facts, clean
from ooMtrace.explain.layout import Block, fact

REASONS = {
    "reduced": "needs kprobes or fentry",
    "minimal": "not available at level minimal",
    "log": "not in the kernel log",
    "full": "could not be read",
}
OF_DECISION = ("oom.constraint", "oom.gfp_mask", "oom.order", "oom.trigger")
NAMES = {
    "oom.constraint": "constraint",
    "oom.gfp_mask": "gfp mask",
    "oom.order": "order",
    "oom.points": "points",
    "oom.scope": "what ran out",
    "oom.limit_bytes": "what points are relative to",
    "oom.memcg": "whose limit",
    "oom.memcg.events": "the limit's counters",
    "oom.trigger": "who asked for memory",
    "oom.trigger.cgroup": "the asker's cgroup",
    "time": "time",
    "host": "host",
    "host.name": "host",
    "process.creation": "age",
    "process.memory": "its memory",
    "process.user": "user",
    "process.parent": "parent",
    "process.command_args": "arguments",
    "process.executable": "program",
    "process.open_files": "open files",
    "process.connections": "connections",
    "process.vpid": "pid inside",
    "namespace": "namespaces",
    "namespace.addresses": "addresses",
    "cgroup": "cgroup",
    "cgroup.path": "cgroup",
}
"""What a reader misses; other facts in `missing` are not worth a word here."""

FITTING = 85
"""Characters of names: with the reason they fill two lines."""

MOST_CUT = 3
WITHHELD = "left out at the operator's request (--cmdline none)"


def not_known(case: Case) -> list[Block]:
    """Return what is missing, with the reason; what was cut, withheld, or computed instead of read."""
    facts = case.facts
    sentences = []
    if names := _named(facts):
        sentences.append(f"{names}: {_reason(facts)}")
    if facts.texts("withheld"):
        sentences.append(f"title and arguments: {WITHHELD}")
    if cut := [NAMES.get(name, clean(name, 40)) for name in facts.raw_texts("truncated")][:MOST_CUT]:
        sentences.append(f"in part, because of a size limit: {', '.join(cut)}")
    return [fact("not known", [sentence], 6) for sentence in sentences]


def _named(facts: Facts) -> str:
    missing = facts.raw_texts("missing")
    names = list(dict.fromkeys(NAMES[name] for name in missing if name in NAMES))
    if "oom.constraint" in missing and not facts.has("oom.candidates"):
        names.append("ranking")
    if not names:
        return ""
    number = max(most for most in range(1, len(names) + 1) if len(", ".join(names[:most])) <= FITTING)
    return ", ".join(names[:number]) + (" and more" if number < len(names) else "")


def _reason(facts: Facts) -> str:
    level = facts.word("fidelity") or ""
    missing = [name for name in facts.raw_texts("missing") if name in NAMES]
    if level == "reduced" and any(name not in OF_DECISION for name in missing):
        return f"{REASONS['full']}, or needs level full"
    return REASONS.get(level, REASONS["full"])
