# SPDX-License-Identifier: Apache-2.0
"""Declares the facts of a record. A fact's description becomes part of the JSON Schema."""

from __future__ import annotations

from dataclasses import Field, field
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


def name_of(fact: Field[Any]) -> str:
    """Return a fact's key in the line; Python keywords have a trailing underscore in the dataclass."""
    return fact.name.removesuffix("_")


def optional(doc: str) -> Any:  # noqa: ANN401
    """Declare a fact that not every kill has."""
    return field(default=None, metadata={"doc": doc})
