# SPDX-License-Identifier: Apache-2.0
"""Values in JSON that another program wrote: of any shape. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MAX_NAME = 255


def get(value: Any, *keys: str) -> Any:  # noqa: ANN401 (any JSON)
    """Return what is below these keys; None if there is nothing."""
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def text(value: Any) -> str | None:  # noqa: ANN401 (any JSON)
    """Return a name; None for what is none, or could not be one."""
    return value if isinstance(value, str) and 0 < len(value) <= MAX_NAME and value.isprintable() else None


def first_text(value: Any) -> str | None:  # noqa: ANN401 (any JSON)
    """Return the first of a list of names."""
    return text(value[0]) if isinstance(value, list) and value else None
