# SPDX-License-Identifier: Apache-2.0
"""results.tsv: the newest result of each scenario in each boot of the matrix, kept with the source.

Most boots of other architectures run by hand only, so no single run has all results.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from .matrix import Cell

TABLE = Path(__file__).with_name("results.tsv")
Key = tuple[str, str]
"""The names of a boot and of a scenario."""


@dataclass(frozen=True, slots=True)
class Result:
    """How a scenario went.

    Attributes:
        status: The exit status, 0 for a pass.
        date: The day on which it ran, YYYY-MM-DD in UTC.
    """

    status: str
    date: str


def load(table: Path = TABLE) -> dict[Key, Result]:
    """Read the results that are kept."""
    rows = (line.split("\t") for line in table.read_text().splitlines()) if table.exists() else ()
    return {(boot, scenario): Result(status, date) for boot, scenario, status, date in rows}


def save(results: Mapping[Key, Result], cells: Iterable[Cell], table: Path = TABLE) -> None:
    """Write them in the order of the matrix, without those of boots that it does not have any more."""
    order = {cell.name: number for number, cell in enumerate(cells)}
    kept = sorted((order[key[0]], key) for key in results if key[0] in order)
    rows = ("\t".join((*key, results[key].status, results[key].date)) for _, key in kept)
    table.write_text("".join(f"{row}\n" for row in rows))


def of_boot(cell: Cell, out: Path) -> dict[Key, Result]:
    """Return the results that the last run of a boot has left; a guest that did not finish has left none."""
    table = out / cell.name / "guest/results.tsv"
    if not table.exists():
        return {}
    date = datetime.fromtimestamp(table.stat().st_mtime, timezone.utc).strftime("%Y-%m-%d")
    rows = (line.split("\t") for line in table.read_text().splitlines())
    return {(cell.name, row[0]): Result(row[1], date) for row in rows}
