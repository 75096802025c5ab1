# SPDX-License-Identifier: Apache-2.0
"""Declares the facts of a record. A fact's description becomes part of the JSON Schema."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import Field, field, fields, is_dataclass
from functools import cache
from typing import Any


def always(doc: str) -> Any:  # noqa: ANN401 (as dataclasses.field itself)
    """Declare a fact that every line has."""
    return field(metadata={"doc": doc})


def can_be_empty(doc: str) -> Any:  # noqa: ANN401
    """Declare a part whose facts may all be unknown: then the line does not have it."""
    return field(metadata={"doc": doc, "can_be_empty": True})


def expected(doc: str) -> Any:  # noqa: ANN401
    """Declare a fact that every kill has; if it could not be read, `missing` names it."""
    return field(default=None, metadata={"doc": doc, "expected": True})


def _facts_of(kind: type) -> tuple[tuple[str, str, bool], ...] | None:
    if not is_dataclass(kind):
        return None
    return tuple((fact.name, name_of(fact), bool(fact.metadata.get("expected"))) for fact in fields(kind))


facts_of: Callable[[type], tuple[tuple[str, str, bool], ...] | None] = cache(_facts_of)
"""Returns attribute, key in the line, and whether every kill has it, of each fact; None if it is not a dataclass. The
cache has one entry for each type of value in a record.
"""


def name_of(fact: Field[Any]) -> str:
    """Return a fact's key in the line; Python keywords have a trailing underscore in the dataclass."""
    return fact.name.removesuffix("_")


def optional(doc: str) -> Any:  # noqa: ANN401
    """Declare a fact that not every kill has."""
    return field(default=None, metadata={"doc": doc})
