# SPDX-License-Identifier: Apache-2.0
"""The format `flat`: one level of keys, for tables. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ooMtrace.output.encode import dump_line

OBJECT_LISTS = ("oom.candidates", "process.connections", "container.parents")
"""Lists of objects: text also when they are empty, because a column has one type."""


def flatten(facts: dict[str, Any]) -> dict[str, Any]:
    """Return a line with dotted keys: `oom.scope`. Lists of texts stay lists, and lists of objects become JSON text."""
    return dict(leaves(facts, ""))


def leaves(part: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    """Yield the dotted name of each fact, and its value."""
    for name, value in part.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{name}.")
        elif f"{prefix}{name}" in OBJECT_LISTS:
            yield f"{prefix}{name}", dump_line(value).decode().rstrip("\n")
        else:
            yield f"{prefix}{name}", value
