# SPDX-License-Identifier: Apache-2.0
"""The state of a host in one line: what works, what is missed, and the remedy if there is only one. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from ooMtrace.kernel import obstacles
from ooMtrace.kernel.checks import Check, checks, levels
from ooMtrace.kernel.features import CAP_SYS_ADMIN, CAP_SYS_PTRACE, Features
from ooMtrace.settings import LEVELS, Level

WORKS: dict[Level, str] = {
    "full": "every kill, with the kernel's decision",
    "reduced": "every kill, with what the victim was doing",
    "minimal": "every kill, with the victim's name and memory",
    "log": "the kills in the kernel log",
}

MISSED_ABOVE: dict[Level, str] = {
    "full": "",
    "reduced": "the kernel's decision and ranking",
    "minimal": "the victim's files and connections, and the kernel's decision",
    "log": "all that the kernel log does not state",
}

MISSED_WITHOUT = {
    "kernel_log": "kills from before the start",
    "kill_counter": "the number of kills that were lost",
    "pid_namespace": "what /proc has of victims",
}
"""What fails at any level without what a check is about."""


def verdict(features: Features, chosen: Level | None, problem: str = "") -> str:
    """Return one line.

    Args:
        features: The host.
        chosen: The level that would be used; None if there is none.
        problem: Why there is none.
    """
    if obstacles.is_unprivileged(features):
        works = f"only level {chosen}, {WORKS[chosen]}" if chosen else "nothing"
        return f"works: {works}: not root; as root, `sudo oomtrace doctor` shows what this host offers"
    if chosen is None:
        return f"works: {_why_not(features, problem)}"
    missed = [what for what in _missed(features, chosen) if what]
    remedy = _only_remedy(features, chosen)
    end = f"; missed: {', '.join(missed)}{f' -> {remedy}' if remedy else ''}" if missed else "; nothing is missed"
    return f"works: level {chosen}, {WORKS[chosen]}{end}"


def _why_not(features: Features, problem: str) -> str:
    cause = obstacles.privilege_obstacle(features)
    if cause:
        remedy = cause.hint if features.can_load_bpf() else obstacles.grant_all(features)
        return f"nothing: {cause.fact} -> {remedy}"
    return f"{'not as required' if any(row.ok for row in levels(features)) else 'nothing'}: {problem}"


def shown(rows: Iterator[Check], features: Features) -> Iterator[Check]:
    """Yield the rows for people: an ordinary user's lack of rights is stated once, in the verdict."""
    for row in rows:
        if row.ok or not obstacles.is_unprivileged(features) or row.hint != _as_root(features):
            yield row


def _as_root(features: Features) -> str:
    return obstacles.grant(features, "SYSLOG")


def _missed(features: Features, chosen: Level) -> Iterator[str]:
    yield MISSED_ABOVE[chosen]
    lacking = _lacking(features, chosen)
    if "kallsyms" in lacking:
        yield "oom.scope and oom.memcg"
    if chosen != "log" and not (features.has(CAP_SYS_ADMIN) and features.has(CAP_SYS_PTRACE)):
        yield "addresses of containers"
    yield from (what for name, what in MISSED_WITHOUT.items() if name in lacking)


def _lacking(features: Features, chosen: Level) -> dict[str, Check]:
    """Return the rows of what is missing and would add something at this level."""
    matters = (*MISSED_WITHOUT, "kallsyms") if chosen in ("reduced", "minimal") else MISSED_WITHOUT
    return {row.name: row for row in checks(features, "") if not row.ok and row.name in matters}


def _only_remedy(features: Features, chosen: Level) -> str:
    """Return what to do, if one thing mends all that is missed. Capabilities are granted together."""
    higher = LEVELS[LEVELS.index(chosen) + 1 :]
    rows = [row for row in levels(features) if not row.ok and row.name in higher]
    rows += _lacking(features, chosen).values()
    grants = {obstacles.grant(features, *each) for each in (obstacles.lacking_for_bpf(features), ("SYSLOG",)) if each}
    hints = {obstacles.grant_all(features) if row.hint in grants else row.hint for row in rows if row.hint}
    return hints.pop() if len(hints) == 1 else ""
