# SPDX-License-Identifier: Apache-2.0
"""Lines that have every fact of the schema, made from the schema itself."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

from ooMtrace.output.formats.flat import flatten
from ooMtrace.record.json_schema import json_schema

EXTREMES = (-(1 << 63), (1 << 64) - 1, (1 << 53) + 1)
"""The integers that a line may have at most, and one that is no IEEE 754 double."""


def filled_line(*, seed: int = 0) -> dict[str, Any]:
    """Return a line with every fact: each integer is an extreme one, another for each seed, and no text twice."""
    numbers = count(seed)
    return {name: _filled(name, fact, numbers) for name, fact in json_schema()["properties"].items()}


def lines_of_every_event() -> Iterator[dict[str, Any]]:
    """Yield for each event the smallest line that the schema allows."""
    schema = json_schema()
    for kind in schema["anyOf"]:
        for event in kind["properties"]["event"]["enum"]:
            numbers = count()
            facts = {name: _smallest(schema["properties"][name], name, numbers) for name in kind["required"]}
            yield {**facts, "event": event}


def flat_without_maps(facts: dict[str, Any]) -> dict[str, Any]:
    """Return a line of --format flat without the keys that no schema can know."""
    maps = ("container.labels.", "process.environment.", "oom.memcg.stat.")
    return {name: value for name, value in flatten(facts).items() if not name.startswith(maps)}


def _filled(name: str, fact: dict[str, Any], numbers: Iterator[int]) -> Any:
    if "properties" in fact:
        return {inner: _filled(inner, part, numbers) for inner, part in fact["properties"].items()}
    if fact["type"] == "object":
        return {f"{name}.a/{key}": _filled(name, fact["additionalProperties"], numbers) for key in "xy"}
    if fact["type"] == "array":
        # lists of different lengths
        return [_filled(name, fact["items"], numbers) for _ in range(1 + next(numbers) % 3)]
    return _scalar(name, fact, numbers)


def _smallest(fact: dict[str, Any], name: str, numbers: Iterator[int]) -> Any:
    if "properties" in fact:
        return {inner: _smallest(fact["properties"][inner], inner, numbers) for inner in fact["required"]}
    return [] if fact["type"] == "array" else _scalar(name, fact, numbers)


def _scalar(name: str, fact: dict[str, Any], numbers: Iterator[int]) -> Any:
    number = next(numbers)
    if "enum" in fact:
        return fact["enum"][number % len(fact["enum"])]
    if name == "severity":
        return "WARN"
    if "RFC 3339" in fact.get("description", ""):
        return f"2026-11-28T01:02:03.{number:06d}Z"
    if fact["type"] == "integer":
        return EXTREMES[number % 3]
    return number % 2 == 0 if fact["type"] == "boolean" else f"{name} '\"\\\n\u00e9{number}"
