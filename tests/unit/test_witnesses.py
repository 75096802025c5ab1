# SPDX-License-Identifier: Apache-2.0
"""Each field of a line is compared with a source of its own somewhere: tests/witnesses.toml says where."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from ooMtrace.record.json_schema import json_schema
from ooMtrace.settings import LEVELS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
FIELDS = tomllib.loads((ROOT / "tests/witnesses.toml").read_text())["field"]
PLACES = [(row["name"], place) for row in FIELDS for place in row["where"]]


def leaves(schema: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the dotted name of each field that has no fields of its own; those of a list's items after `[]`."""
    if schema["type"] == "array" and "properties" in schema["items"]:
        yield from leaves(schema["items"], f"{prefix}[]")
    elif "properties" in schema:
        for name, part in schema["properties"].items():
            yield from leaves(part, f"{prefix}.{name}" if prefix else name)
    else:
        yield prefix


def test_each_field_has_one_row_and_no_row_is_of_another_field():
    assert [row["name"] for row in FIELDS] == list(leaves(json_schema()))


@pytest.mark.parametrize("row", FIELDS, ids=lambda row: row["name"])
def test_a_row_has_a_witness_a_place_and_levels(row):
    assert row.keys() == {"name", "witness", "where", "fidelity"}
    assert row["witness"]
    assert row["where"]
    assert row["fidelity"]
    assert set(row["fidelity"]) <= set(LEVELS)


@pytest.mark.parametrize(("field", "place"), PLACES, ids=[f"{field} in {place}" for field, place in PLACES])
def test_a_place_exists_and_mentions_the_field_or_its_object(field, place):
    path, _, name = place.partition("::")
    names = re.findall(r"\w+", field)[-2:]

    assert name in definitions(path) or (is_script(path) and re.search(rf"\b{name}\b", source(path)))
    assert any(re.search(rf"(?<![a-z]){each}(?![a-z])", source(path)) for each in names), names


def is_script(path: str) -> bool:
    """Say whether a file is a scenario, which has statements and no functions."""
    return path.startswith("vagrant/scenarios/") and not Path(path).name.startswith("_")


def source(path: str) -> str:
    return (ROOT / path).read_text()


@cache
def definitions(path: str) -> set[str]:
    """Return the names of the functions, methods and classes of a file."""
    kinds = (ast.FunctionDef, ast.ClassDef)
    return {node.name for node in ast.walk(ast.parse(source(path))) if isinstance(node, kinds)}
