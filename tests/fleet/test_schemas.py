# SPDX-License-Identifier: Apache-2.0
"""The files of deploy/schemas hold for lines of every event, and every value of a line is read as it is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chdb.session import Session
from fleet.engines import (
    ENGINES,
    NOT_IN_POLARS,
    create_clickhouse_tables,
    duckdb_session,
    insert_into_clickhouse,
    known,
)
from support.filled import filled_line, flat_without_maps, lines_of_every_event
from support.recorded_kills import RECORDINGS, lines

from ooMtrace.output.formats.flat import flatten
from ooMtrace.record.json_schema import json_schema

both_formats = pytest.mark.parametrize("flat", [False, True], ids=["native", "flat"])
every_engine = pytest.mark.parametrize("engine", ENGINES)


def written(folder: Path, facts: list[dict[str, Any]], *, flat: bool) -> Path:
    file = folder / "lines.json"
    file.write_text("".join(json.dumps(flatten(line) if flat else line) + "\n" for line in facts))
    return file


def in_order(facts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(facts, key=lambda line: json.dumps(line, sort_keys=True))


def expected(facts: list[dict[str, Any]], engine: str, *, flat: bool) -> list[dict[str, Any]]:
    lines = json.loads(json.dumps(facts))
    for line in lines if engine == "polars" else []:
        for part, name in NOT_IN_POLARS:
            line.get(part, {}).pop(name, None)
    return in_order([known(flat_without_maps(line) if flat else line) for line in lines])


@every_engine
@both_formats
def test_every_fact_of_a_line_has_its_column_and_keeps_its_value(tmp_path, engine, flat):
    facts = [filled_line(seed=seed) for seed in range(3)]
    read = ENGINES[engine](written(tmp_path, facts, flat=flat), flat=flat)

    assert in_order([known(row) for row in read]) == expected(facts, engine, flat=flat)


@every_engine
@both_formats
def test_the_smallest_line_of_every_event_can_be_read(tmp_path, engine, flat):
    facts = list(lines_of_every_event())
    read = ENGINES[engine](written(tmp_path, facts, flat=flat), flat=flat)

    assert in_order([known(row) for row in read]) == expected(facts, engine, flat=flat)


@every_engine
@both_formats
def test_recorded_lines_can_be_read(tmp_path, engine, flat):
    facts = [{**json.loads(line), "id": f"{name}-{line[:99]!r}"} for name in RECORDINGS for line in lines(name)]
    read = ENGINES[engine](written(tmp_path, facts, flat=flat), flat=flat)

    assert in_order([known(row) for row in read]) == expected(facts, engine, flat=flat)


@every_engine
@both_formats
def test_facts_that_a_later_version_adds_are_ignored(tmp_path, engine, flat):
    line = filled_line()
    later = {
        **line,
        "new": {"a": [1]},
        "oom": {**line["oom"], "new": 2, "points": {**line["oom"]["points"], "new": "x"}},
    }
    read = ENGINES[engine](written(tmp_path, [later], flat=flat), flat=flat)

    assert [known(row) for row in read] == expected([line], engine, flat=flat)


def columns(facts: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the dotted name of every fact, with quotes around each part."""
    for name, fact in facts.items():
        yield f'{prefix}"{name}"'
        yield from columns(fact.get("properties", {}), f'{prefix}"{name}".')


def test_a_query_on_any_fact_works_if_no_line_has_it(tmp_path):
    lost = next(line for line in lines_of_every_event() if line["event"] == "oom_lost")
    file = written(tmp_path, [lost], flat=False)
    names = list(columns(json_schema()["properties"]))

    assert '"oom"."memcg"."limit"' in names
    query = f"SELECT {', '.join(names)}"
    assert len(duckdb_session().execute(f"{query} FROM read_oomtrace(?)", [str(file)]).fetchall()) == 1
    with Session() as session:
        create_clickhouse_tables(session)
        insert_into_clickhouse(session, "oomtrace", file)
        assert session.query(f"{query} FROM oomtrace").rows_read() == 1


def test_clickhouse_keeps_a_line_once_that_was_delivered_twice(tmp_path):
    file = written(tmp_path, [filled_line(), {**filled_line(), "seq": 7}, filled_line(seed=1)], flat=False)
    with Session() as session:
        create_clickhouse_tables(session)
        insert_into_clickhouse(session, "oomtrace", file)
        insert_into_clickhouse(session, "oomtrace", file)
        assert str(session.query("SELECT count() FROM oomtrace FINAL")).strip() == "2"
