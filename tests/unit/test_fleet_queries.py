# SPDX-License-Identifier: Apache-2.0
"""The queries of deploy/fleet for engines that are not run here name fields that lines have."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ooMtrace.record.json_schema import json_schema

FLEET = Path(__file__).parents[2] / "deploy/fleet"
TEMPLATE = FLEET.parent / "schemas/elasticsearch.json"
NAMES = ("kills-by-workload", "repeat-offenders", "small-limits", "lost")
ENGINES = {"duckdb": "sql", "clickhouse": "sql", "loki": "logql", "elasticsearch": "esql"}


def leaves(part: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the dotted names of a JSON Schema's or a mapping's fields that have none below them."""
    for name, field in part["properties"].items():
        yield from leaves(field, f"{prefix}{name}.") if "properties" in field else [f"{prefix}{name}"]


def without_comments(file: Path) -> str:
    return re.sub(r"^\s*(#|//|--).*$", "", file.read_text(), flags=re.MULTILINE)


@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_has_every_query(engine):
    found = {path.name for path in (FLEET / engine).iterdir()}

    assert {f"{name}.{ENGINES[engine]}" for name in NAMES} == found - {"kills.sql"}


@pytest.mark.parametrize("name", NAMES)
def test_loki_queries_name_facts_of_a_line_and_labels_that_they_make(name):
    query = without_comments(FLEET / f"loki/{name}.logql")
    made = dict(re.findall(r'\b(\w+)="([a-z0-9_.]+)"(?=[, ]|$)', query.split("| json", 1)[1].split("\n")[0]))
    shown = set(re.findall(r"\.(\w+)", " ".join(re.findall(r"\{\{.*?\}\}", query))))
    used = {label.strip() for group in re.findall(r"by \(([^)]*)\)", query) for label in group.split(",")}

    assert made
    assert {*made.values()} <= {*leaves(json_schema())}
    assert shown <= made.keys()
    assert used | {*re.findall(r"unwrap (\w+)", query)} <= made.keys() | {*re.findall(r"label_format (\w+)", query)}


@pytest.mark.parametrize("name", NAMES)
def test_elasticsearch_queries_name_fields_of_the_index_template(name):
    fields = {*leaves(json.loads(TEMPLATE.read_text())["template"]["mappings"])}
    query = re.sub(r'"[^"]*"', '""', without_comments(FLEET / f"elasticsearch/{name}.esql"))
    used = set(re.findall(r"(?<![\w-])@?[a-z]\w*(?:\.\w+)+|@timestamp", query))

    assert used
    assert used <= fields
