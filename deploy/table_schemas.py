# SPDX-License-Identifier: Apache-2.0
"""Print the types of all facts of a line, for an engine that reads lines as a table: the files of deploy/schemas.

    python3 -m deploy.table_schemas duckdb.sql > deploy/schemas/duckdb.sql

An engine that derives types from the lines itself knows no fact that these lines happen not to have, such as
`lost.count`. Integers have 128 bits, because a line may have signed and unsigned ones of 64: what does not fit into a
column of 64 bits is an error in DuckDB and polars, and another number in ClickHouse.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from textwrap import indent
from typing import Any

from ooMtrace.output.formats.ecs import MOVED
from ooMtrace.output.formats.flat import OBJECT_LISTS
from ooMtrace.record.json_schema import json_schema

Schema = dict[str, Any]
"""The JSON Schema of one fact."""

TIME = "RFC 3339"
"""Is in the description of every fact that is a time."""

KEYWORD: Schema = {"type": "keyword"}
ECS_TYPES: dict[str, Schema] = {
    "message": {"type": "match_only_text"},
    "process.user.id": KEYWORD,
    "process.env_vars": KEYWORD,
    "container.labels": {"type": "flattened"},
}
"""Fields that ECS has another type for than a line; labels differ, and each would become a field."""

ECS_ONLY: dict[str, Schema] = {
    **dict.fromkeys(
        (
            *("ecs.version", "event.kind", "event.category", "event.type", "event.action", "event.module"),
            *("event.dataset", "log.level", "orchestrator.type", "orchestrator.resource.type"),
        ),
        KEYWORD,
    ),
    "event.severity": {"type": "long"},
    "process.args_count": {"type": "long"},
}
"""Fields that to_ecs() adds."""

HEADER = "Written by `make schemas` from the record's definition. {} docs/fleet.md shows how to use it."

DUCKDB = """\
-- {header}
CREATE OR REPLACE MACRO read_oomtrace(files) AS TABLE
SELECT * FROM read_json(files, format = 'newline_delimited', columns = {{
{native}
}});

-- Lines of --format flat: labels of containers and variables of the environment have no columns.
CREATE OR REPLACE MACRO read_oomtrace_flat(files) AS TABLE
SELECT * FROM read_json(files, format = 'newline_delimited', columns = {{
{flat}
}});
"""
CLICKHOUSE = """\
-- {header}
-- A line that was delivered twice is kept once: `FINAL` in a query leaves out what has not been merged yet.
CREATE TABLE IF NOT EXISTS oomtrace
(
{native}
)
ENGINE = ReplacingMergeTree PARTITION BY toYYYYMM(observed)
ORDER BY (ifNull(tupleElement(host, 'name'), ''), event, id);

-- Lines of --format flat: labels of containers and variables of the environment have no columns.
CREATE TABLE IF NOT EXISTS oomtrace_flat
(
{flat}
)
ENGINE = ReplacingMergeTree PARTITION BY toYYYYMM(observed)
ORDER BY (ifNull(`host.name`, ''), event, id);
"""
POLARS = '''\
# SPDX-License-Identifier: Apache-2.0
"""The columns of oomtrace's lines: polars.read_ndjson(FILE, schema=NATIVE).

{header}
"""

import polars as pl

TIME = pl.Datetime("us", "UTC")

# oom.memcg.stat is JSON text. container.labels and process.environment have no columns, for which polars has no type,
# and it does not escape backslashes where it makes JSON text of objects.
NATIVE = {native}

# Lines of --format flat: labels of containers and variables of the environment have no columns.
FLAT = {flat}
'''


def duckdb() -> str:
    """Return two macros that read files."""
    return DUCKDB.format(
        header=HEADER.format("Read by DuckDB."),
        native=_rows(native(), lambda name, fact: f"  {_quoted(name)}: '{_duckdb_type(fact)}'"),
        flat=_rows(flat(), lambda name, fact: f"  {_quoted(name)}: '{_duckdb_type(fact)}'"),
    )


def clickhouse() -> str:
    """Return two tables."""
    required = json_schema()["required"]

    def column(name: str, fact: Schema) -> str:
        return f"    `{name}` {_clickhouse_type(fact, always=name in required)}"

    return CLICKHOUSE.format(
        header=HEADER.format("Read by ClickHouse."), native=_rows(native(), column), flat=_rows(flat(), column)
    )


def polars() -> str:
    """Return a module with two schemas."""
    return POLARS.format(
        header=HEADER.format("Read by polars."),
        native=_polars_columns(_without_text_maps(native())),
        flat=_polars_columns(flat()),
    )


def native() -> dict[str, Schema]:
    """Return the facts of a line, nested as they are."""
    properties: dict[str, Schema] = json_schema()["properties"]
    return properties


def flat() -> dict[str, Schema]:
    """Return the facts of a line of --format flat whose names are known, by their dotted names."""
    text = {"type": "string", "description": "JSON"}
    facts = {name: text if name in OBJECT_LISTS else fact for name, fact in _leaves(native(), "")}
    return {name: fact for name, fact in facts.items() if fact["type"] != "object"}


def _leaves(facts: dict[str, Schema], prefix: str) -> Iterator[tuple[str, Schema]]:
    """Yield the dotted name of each fact that is no object with known members."""
    for name, fact in facts.items():
        if "properties" in fact:
            yield from _leaves(fact["properties"], f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", fact


def _rows(facts: dict[str, Schema], row: Callable[[str, Schema], str]) -> str:
    return ",\n".join(row(name, fact) for name, fact in facts.items())


def _is_time(fact: Schema) -> bool:
    return TIME in fact.get("description", "")


def _quoted(name: str) -> str:
    return f'"{name}"'


def _duckdb_type(fact: Schema) -> str:
    if fact["type"] == "array":
        return f"{_duckdb_type(fact['items'])}[]"
    if "properties" in fact:
        members = (f"{_quoted(name)} {_duckdb_type(member)}" for name, member in fact["properties"].items())
        return f"STRUCT({', '.join(members)})"
    if fact["type"] == "object":
        return f"MAP(VARCHAR, {_duckdb_type(fact['additionalProperties'])})"
    if _is_time(fact):
        return "TIMESTAMPTZ"
    return {"string": "VARCHAR", "integer": "HUGEINT", "boolean": "BOOLEAN"}[fact["type"]]


def _clickhouse_type(fact: Schema, *, always: bool = False) -> str:
    """Return the type; what may be absent can be NULL, but for lists, tuples and maps: these are empty then."""
    if fact["type"] == "array":
        return f"Array({_clickhouse_type(fact['items'], always='properties' not in fact['items'])})"
    if "properties" in fact:
        members = (f"`{name}` {_clickhouse_type(member)}" for name, member in fact["properties"].items())
        return f"Tuple({', '.join(members)})"
    if fact["type"] == "object":
        return f"Map(String, {_clickhouse_type(fact['additionalProperties'], always=True)})"
    scalar = {"string": "String", "integer": "Int128", "boolean": "Bool"}[fact["type"]]
    scalar = "DateTime64(6, 'UTC')" if _is_time(fact) else scalar
    scalar = scalar if always else f"Nullable({scalar})"
    return f"LowCardinality({scalar})" if "enum" in fact else scalar


def _without_text_maps(facts: dict[str, Schema]) -> dict[str, Schema]:
    return {
        name: {**fact, "properties": _without_text_maps(fact["properties"])} if "properties" in fact else fact
        for name, fact in facts.items()
        if fact.get("additionalProperties") != {"type": "string"}
    }


def _polars_columns(facts: dict[str, Schema]) -> str:
    members = "".join(f"{json.dumps(name)}: {_polars_type(fact)},\n" for name, fact in facts.items())
    return f"{{\n{indent(members, '    ')}}}"


def _polars_type(fact: Schema) -> str:
    """Return the type as ruff formats it."""
    if fact["type"] == "array":
        item = _polars_type(fact["items"])
        return f"pl.List(\n{indent(item, '    ')}\n)" if "\n" in item else f"pl.List({item})"
    if "properties" in fact:
        return f"pl.Struct(\n{indent(_polars_columns(fact['properties']), '    ')}\n)"
    if _is_time(fact):
        return "TIME"
    return {"integer": "pl.Int128", "boolean": "pl.Boolean"}.get(fact["type"], "pl.String")


def elasticsearch() -> str:
    """Return an index template for lines of --format ecs.

    A number outside of 64 bits, signed, is left out of the index, and the rest of its line is not.
    """
    mapping: Schema = {"properties": {}}
    for name, fact in _ecs_facts():
        part = mapping
        *parents, last = name.split(".")
        for parent in parents:
            part = part["properties"].setdefault(parent, {"properties": {}})
        part["properties"][last] = fact
    template = {
        "index_patterns": ["logs-oomtrace-*"],
        "data_stream": {},
        "priority": 200,
        "template": {"settings": {"index.mapping.ignore_malformed": True}, "mappings": {"dynamic": False, **mapping}},
        "_meta": {"description": HEADER.format("Put to _index_template/oomtrace.")},
    }
    return json.dumps(template, indent=2) + "\n"


def _ecs_facts() -> Iterator[tuple[str, Schema]]:
    """Yield the name of every field of a document, and its mapping."""
    moved = dict(MOVED)
    yield from ECS_ONLY.items()
    for name, fact in _leaves(native(), ""):
        if name in moved:
            yield moved[name], ECS_TYPES.get(moved[name], _elasticsearch_type(fact))
        elif name not in ("event", "severity"):
            yield f"oomtrace.{name}", _elasticsearch_type(fact)


def _elasticsearch_type(fact: Schema) -> Schema:
    if fact["type"] == "array":
        return _elasticsearch_type(fact["items"])
    if "properties" in fact:
        members = {name: _elasticsearch_type(member) for name, member in fact["properties"].items()}
        return {"properties": members}
    if fact["type"] == "object":
        return {"type": "flattened"}
    if _is_time(fact):
        return {"type": "date"}
    return {"type": {"string": "keyword", "integer": "long", "boolean": "boolean"}[fact["type"]]}


FILES: dict[str, Callable[[], str]] = {
    "duckdb.sql": duckdb,
    "clickhouse.sql": clickhouse,
    "polars_schema.py": polars,
    "elasticsearch.json": elasticsearch,
}
"""What deploy/schemas has."""


def main(arguments: list[str]) -> str:
    """Return the file of this name."""
    return FILES[arguments[0]]()


if __name__ == "__main__":
    sys.stdout.write(main(sys.argv[1:]))
