# SPDX-License-Identifier: Apache-2.0
"""How a fact of the record is declared."""

from __future__ import annotations

from dataclasses import Field, field
from typing import Any


def always(doc: str) -> Any:  # noqa: ANN401 (dataclasses.field is typed so, too)
    """Declare a fact that every line has."""
    return field(metadata={"doc": doc})


def expected(doc: str) -> Any:  # noqa: ANN401
    """Declare a fact that every kill has; if it could not be had, `missing` names it."""
    return field(default=None, metadata={"doc": doc, "expected": True})


def name_of(one: Field[Any]) -> str:
    """Return a field's name in the line: some are words of Python's own, and end with an underscore here."""
    return one.name.removesuffix("_")


def optional(doc: str) -> Any:  # noqa: ANN401
    """Declare a fact that not every kill has."""
    return field(default=None, metadata={"doc": doc})
