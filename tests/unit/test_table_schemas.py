# SPDX-License-Identifier: Apache-2.0
"""The schemas for DuckDB, ClickHouse and polars follow from the record. `make test-fleet` reads lines with them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from support.filled import filled_line, flat_without_maps, lines_of_every_event
from support.recorded_kills import RECORDINGS, lines

from deploy.table_schemas import FILES, TIME, flat, native
from ooMtrace.output.encode import load
from ooMtrace.output.formats.ecs import to_ecs
from ooMtrace.record.json_schema import json_schema

ELASTICSEARCH: dict[str, tuple[type, ...]] = {
    "keyword": (str,),
    "match_only_text": (str,),
    "date": (str,),
    "long": (int,),
    "boolean": (bool,),
    "flattened": (dict,),
}
FOLDER = Path(__file__).parents[2] / "deploy/schemas"


@pytest.mark.parametrize("name", FILES)
def test_the_files_are_those_of_the_record(name):
    assert (FOLDER / name).read_text() == FILES[name](), "run `make schemas`"


def test_there_are_no_other_files():
    assert {path.name for path in FOLDER.iterdir() if path.is_file()} == {*FILES}


def test_every_event_and_every_fact_have_a_column():
    assert {*native()} == {name for line in [filled_line(), *lines_of_every_event()] for name in line}
    assert {*flat()} == {*flat_without_maps(filled_line())}


def paths(part: dict[str, Any], mapping: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the dotted name of every field of a document that its mapping does not have, or has with another type."""
    for name, value in part.items():
        field = mapping["properties"].get(name, {})
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, dict) and field.get("type") != "flattened":
                yield from paths(item, field, f"{prefix}{name}.") if "properties" in field else [f"{prefix}{name}"]
            elif not isinstance(item, ELASTICSEARCH.get(field.get("type", ""), ())):
                yield f"{prefix}{name}"


def test_every_field_of_an_ecs_document_has_its_type_in_the_index_template():
    mapping = json.loads((FOLDER / "elasticsearch.json").read_text())["template"]["mappings"]
    documents = [to_ecs(line) for line in [filled_line(), filled_line(seed=1), *lines_of_every_event()]]
    documents += [to_ecs(json.loads(line)) for name in RECORDINGS for line in lines(name)]

    assert [*paths({"host": {"name": 7, "more": 8}}, mapping)] == ["host.name", "host.more"]
    for document in documents:
        assert [*paths(document, mapping)] == []


def texts(facts: dict[str, Any], schemas: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str, bool]]:
    """Yield the name of every text, its value, and whether the schema says that it is a time."""
    for name, value in facts.items():
        if isinstance(value, dict):
            yield from texts(value, schemas[name].get("properties", {}), f"{prefix}{name}.")
        elif isinstance(value, str) and name in schemas:
            yield f"{prefix}{name}", value, TIME in schemas[name]["description"]


def test_what_looks_like_a_time_is_a_time():
    seen = set()
    for name in RECORDINGS:
        for line in lines(name):
            for path, text, is_time in texts(load(line), native()):
                assert is_time == (text[4:5] == text[7:8] == "-" and text.endswith("Z")), path
                seen.add(path) if is_time else None
    assert {"time", "observed", "process.creation.time"} <= seen


def test_the_lines_that_the_engines_are_tested_with_fit_the_schema():
    for line in [filled_line(), filled_line(seed=1), *lines_of_every_event()]:
        jsonschema.validate(line, json_schema())
