# SPDX-License-Identifier: Apache-2.0
"""DuckDB, ClickHouse's engine (chdb) and polars, each with the schema of deploy/schemas."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import polars
from chdb.session import Session

from deploy.schemas import polars_schema

ROOT = Path(__file__).parents[2]
SCHEMAS = ROOT / "deploy/schemas"
Rows = list[dict[str, Any]]


def duckdb_session() -> duckdb.DuckDBPyConnection:
    session = duckdb.connect()
    session.execute("SET TimeZone = 'UTC'")
    session.execute((SCHEMAS / "duckdb.sql").read_text())
    return session


def read_by_duckdb(file: Path, *, flat: bool) -> Rows:
    found = duckdb_session().execute(f"FROM read_oomtrace{'_flat' if flat else ''}(?)", [str(file)])
    names = [column[0] for column in found.description]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def read_by_polars(file: Path, *, flat: bool) -> Rows:
    frame = polars.read_ndjson(file, schema=polars_schema.FLAT if flat else polars_schema.NATIVE)
    return frame.to_dicts()


def read_by_clickhouse(file: Path, *, flat: bool) -> Rows:
    table = f"oomtrace{'_flat' if flat else ''}"
    with Session() as session:
        create_clickhouse_tables(session)
        insert_into_clickhouse(session, table, file)
        query = f"SELECT * FROM {table} ORDER BY observed SETTINGS date_time_output_format = 'iso'"
        text = session.query(query, "JSONEachRow").bytes().decode()
    return [json.loads(row) for row in text.splitlines()]


def create_clickhouse_tables(session: Session) -> None:
    session.query("CREATE DATABASE IF NOT EXISTS fleet")
    session.query("USE fleet")
    for statement in (SCHEMAS / "clickhouse.sql").read_text().split(";\n"):
        if statement.strip():
            session.query(statement)


def insert_into_clickhouse(session: Session, table: str, file: Path) -> None:
    session.query(f"INSERT INTO {table} FROM INFILE '{file}' FORMAT JSONEachRow")


NOT_IN_POLARS = (("container", "labels"), ("process", "environment"))
"""Objects of texts whose keys differ from line to line."""

ENGINES: dict[str, Callable[..., Rows]] = {
    "duckdb": read_by_duckdb,
    "clickhouse": read_by_clickhouse,
    "polars": read_by_polars,
}


def known(value: Any) -> Any:
    """Return what an engine has read without NULL and what is empty, times as a line has them, and JSON text parsed."""
    if isinstance(value, dict):
        members = {name: known(inner) for name, inner in value.items()}
        return {name: inner for name, inner in members.items() if inner not in (None, {}, [])}
    if isinstance(value, list):
        return [known(item) for item in value]
    if isinstance(value, str) and value.startswith("{"):
        return json.loads(value)
    return value.strftime("%Y-%m-%dT%H:%M:%S.%fZ") if isinstance(value, datetime) else value
