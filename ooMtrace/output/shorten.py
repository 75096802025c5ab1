# SPDX-License-Identifier: Apache-2.0
"""Fits the facts of a record into the size of a line: what matters least is cut first. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

EXPENDABLE: tuple[tuple[str, int | None], ...] = (
    ("oom.candidates", None),
    ("oom.memcg.stat", None),
    ("oom.trigger.cgroup", None),
    ("cgroup.v2", None),
    ("process.environment", None),
    ("process.connections", 8),
    ("process.command_args", 0),
    ("process.title", 0),
    ("process.connections", 0),
    ("process.working_directory", None),
    ("process.executable", None),
    ("oom.group", None),
    ("oom.memcg.path", None),
    ("cgroup.path", None),
    ("container.labels", None),
    ("namespace.addresses", None),
    ("job", None),
)
"""What a line loses, in this order: the whole fact (None), or halves of it until no more than this is left."""

SHORT = 64
"""Characters of a text in a list that is not halved."""

RESERVE = 400
"""Bytes reserved for `truncated` itself."""

Measure = Callable[[Any], int]
"""Returns the size in bytes of facts, or of one of them, as they will be written."""


def shorten(facts: dict[str, Any], limit: int, measure: Measure) -> set[str]:
    """Cut facts in place until they fit.

    Args:
        facts: A record as nested dictionaries.
        limit: Maximum size in bytes, with `truncated`.
        measure: Returns the size of facts.

    Returns:
        The dotted names of the facts that were cut; the caller adds them to `truncated`.
    """
    cut: set[str] = set()
    if measure(facts) + RESERVE <= limit:
        return cut
    for name, least in EXPENDABLE:
        while measure(facts) + RESERVE > limit and _cut(facts, name, least):
            cut.add(name)
    _halve_longest(facts, cut, limit, measure)
    return cut


def with_truncated(facts: dict[str, Any], cut: set[str]) -> dict[str, Any]:
    """Return the facts with these names in `truncated`, beside those that are there already."""
    return {**facts, "truncated": sorted({*facts.get("truncated", ()), *cut})} if cut else facts


def _halve_longest(facts: dict[str, Any], cut: set[str], limit: int, measure: Measure) -> None:
    """Halve the longest text or list, whatever it is, until the line fits: no single fact is worth the whole line."""
    while measure(with_truncated(facts, cut)) > limit:
        name, part, key = max(_texts(facts), key=lambda found: measure(found[1][found[2]]))
        part[key] = _half(part[key])
        cut.add(name)


def _texts(part: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield every text and list: dotted name, the dictionary that holds it, and its key there."""
    for key, value in part.items():
        if isinstance(value, dict):
            yield from _texts(value, f"{prefix}{key}.")
        elif isinstance(value, (str, list)):
            yield f"{prefix}{key}", part, key


def _cut(facts: dict[str, Any], name: str, least: int | None) -> bool:
    """Halve a fact, or remove it; return whether there was anything to cut."""
    *parents, last = name.split(".")
    for parent in parents:
        facts = facts.get(parent, {})
    if least is None:
        return facts.pop(last, None) is not None
    whole = facts.get(last, "")
    half = _half(whole)
    if len(half) < least or half == whole:
        return False
    facts[last] = half
    return True


def _half(value: Any) -> Any:  # noqa: ANN401 (a text or a list)
    """Return the first half of a text or list; of a list of texts first halve the longest, which may be the cause."""
    longest = max(range(len(value)), key=lambda i: len(value[i]), default=0)
    if isinstance(value, list) and value and isinstance(value[longest], str) and len(value[longest]) > SHORT:
        return [text[: len(text) // 2] if i == longest else text for i, text in enumerate(value)]
    return value[: len(value) // 2]
