# SPDX-License-Identifier: Apache-2.0
"""Shared by all tests: the shipped schema, made strict."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jsonschema
import pytest

from ooMtrace.record.json_schema import json_schema


def forbid_unknown_names(schema: dict[str, Any]) -> dict[str, Any]:
    properties = {name: forbid_unknown_names(part) for name, part in schema.get("properties", {}).items()}
    return {**schema, "properties": properties, "additionalProperties": False} if properties else schema


@pytest.fixture(scope="session")
def validate() -> Callable[[Any], None]:
    """Check a line against the schema; a name that the schema does not know fails, too."""
    validator = jsonschema.Draft202012Validator(forbid_unknown_names(json_schema()))
    return validator.validate
