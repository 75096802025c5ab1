# SPDX-License-Identifier: Apache-2.0
"""The examples in docs/fleet.md work."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest
from chdb.session import Session
from fleet.engines import ROOT, create_clickhouse_tables, duckdb_session
from fleet.generator import write_fleet

PAGE = (ROOT / "docs/fleet.md").read_text()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("fleet")
    write_fleet(made / "a.log", 1000, seed=1)
    write_fleet(made / "b.log", 1000, seed=2)
    return made


def example(section: str, language: str, folder: Path) -> str:
    """Return the code of a section, with files in another folder."""
    found = re.search(rf"^## {section}\n.*?^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    assert found
    return found[1].replace("/var/log/fleet", str(folder))


def total_lost(folder: Path) -> int:
    return sum(
        int(count) for file in folder.glob("*.log") for count in re.findall(r'"lost":\{"count":(\d+)', file.read_text())
    )


def test_duckdb(folder, tmp_path):
    (tmp_path / "a.log").write_bytes((folder / "a.log").read_bytes())
    (tmp_path / "b.log.gz").write_bytes(gzip.compress((folder / "b.log").read_bytes()))
    session, results = duckdb_session(), []
    for line in example("DuckDB", "sql", tmp_path).splitlines():
        text = (ROOT / line.removeprefix(".read ")).read_text() if line.startswith(".read ") else line
        results.append(session.execute(text).fetchall())

    assert session.execute("SELECT count(*) FROM oomtrace").fetchall()[0][0] >= 2000
    assert sum(lost or 0 for _, lost in results[-1]) == total_lost(folder) > 0
    assert len(results[-2]) > 10


def test_clickhouse(folder):
    with Session() as session:
        create_clickhouse_tables(session)
        insert, select, retention = example("ClickHouse", "sql", folder).strip().rstrip(";").split(";\n")
        session.query(insert)
        rows = session.query(select, "TSV").bytes().decode().splitlines()
        session.query(retention)

    assert sum(int(row.split("\t")[1].replace("\\N", "0")) for row in rows) == total_lost(folder)


def test_polars(folder):
    names: dict[str, object] = {}
    exec(example("polars", "python", folder), names)

    assert names["lost"] == total_lost(folder)
