# SPDX-License-Identifier: Apache-2.0
"""The queries of deploy/fleet find in a large fleet's lines what is true of it."""

from __future__ import annotations

import json
import os
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from chdb.session import Session
from fleet.engines import ROOT, create_clickhouse_tables, duckdb_session, insert_into_clickhouse
from fleet.generator import Fleet, write_fleet
from fleet.truth import QUERIES, Rows

LINES = int(os.environ.get("FLEET_LINES") or 1_000_000)
Query = Callable[[str], Rows]

pytestmark = pytest.mark.timeout(7200)


@contextmanager
def timed(what: str) -> Iterator[None]:
    start, cpu = time.monotonic(), time.process_time()
    yield
    print(
        f"{what}: {time.monotonic() - start:.1f} s, {time.process_time() - cpu:.1f} s of CPU time;"
        f" most memory so far {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MiB"
    )


@pytest.fixture(scope="module")
def lines(tmp_path_factory) -> Iterator[tuple[Path, Fleet]]:
    file = tmp_path_factory.mktemp("fleet") / "lines.json"
    with timed(f"generator, {LINES} lines"):
        fleet = write_fleet(file, LINES)
    print(f"{file.stat().st_size / fleet.lines:.0f} bytes a line")
    with file.open() as all_lines, again(file).open("w") as out:
        out.writelines(islice(all_lines, LINES // 10))
    yield file, fleet
    again(file).unlink()
    file.unlink()


def again(file: Path) -> Path:
    """Return the file with lines that are delivered a second time."""
    return file.with_suffix(".again")


@pytest.fixture(scope="module")
def duckdb(lines) -> Query:
    session = duckdb_session()
    with timed("DuckDB, table"):
        session.execute("CREATE TABLE oomtrace AS FROM read_oomtrace(?)", [str(lines[0])])
    session.execute("INSERT INTO oomtrace FROM read_oomtrace(?)", [str(again(lines[0]))])
    session.execute((ROOT / "deploy/fleet/duckdb/kills.sql").read_text())

    def query(name: str) -> Rows:
        found = session.execute((ROOT / f"deploy/fleet/duckdb/{name}.sql").read_text())
        names = [column[0] for column in found.description]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]

    return query


@pytest.fixture(scope="module")
def clickhouse(lines, tmp_path_factory) -> Iterator[Query]:
    with Session(str(tmp_path_factory.mktemp("chdb"))) as session:
        create_clickhouse_tables(session)
        with timed("ClickHouse, table"):
            insert_into_clickhouse(session, "oomtrace", lines[0])
        insert_into_clickhouse(session, "oomtrace", again(lines[0]))
        session.query((ROOT / "deploy/fleet/clickhouse/kills.sql").read_text())

        def query(name: str) -> Rows:
            text = (ROOT / f"deploy/fleet/clickhouse/{name}.sql").read_text().rstrip(";\n")
            settings = "date_time_output_format = 'iso', output_format_json_quote_64bit_integers = 0"
            found = session.query(f"{text} SETTINGS {settings}", "JSONEachRow").bytes().decode()
            return [{key: parsed(key, value) for key, value in json.loads(row).items()} for row in found.splitlines()]

        yield query


def parsed(key: str, value: Any) -> Any:
    return datetime.fromisoformat(value.replace("Z", "+00:00")) if key in ("first", "last") else value


@pytest.mark.parametrize("name", QUERIES)
@pytest.mark.parametrize("engine", ["duckdb", "clickhouse"])
def test_a_query_finds_what_is_true(request, lines, engine, name):
    expected = QUERIES[name](lines[1])
    query = request.getfixturevalue(engine)
    with timed(f"{engine} {name}"):
        found = query(name)

    assert len(expected) > 10
    assert found == expected
