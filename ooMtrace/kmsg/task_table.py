# SPDX-License-Identifier: Apache-2.0
"""The table of tasks in a report, dump_tasks() in mm/oom_kill.c, parsed by its column names. Pure.

The columns changed: nr_ptes from 3.9; nr_pmds beside it from 4.0; pgtables_bytes (bytes, not pages) instead of both
from 4.15, together with a wider pid from 4.19; rss_anon, rss_file and rss_shmem from 6.8.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ooMtrace.kmsg.possible import ADJ, PIDS, UIDS

COLUMNS = re.compile(r"^\[ *pid *\]((?: +[a-z_]+)+) +name *\Z")
NUMBERS = r" {1,20}-?[0-9]{1,13}"
ROW = re.compile(rf"^\[ *([0-9]{{1,10}})\](?:{NUMBERS}){{5}}", re.DOTALL)

POSSIBLE = {"oom_score_adj": ADJ, "tgid": PIDS, "uid": UIDS}
"""All others are not negative. Counters of old kernels were, at times."""

MAX_ROWS, MAX_ROW = 100_000, 256
"""Further rows are not kept, nor longer ones, so that no log makes memory grow without bound. A row of eleven columns
has about 120 characters, and a name up to 60 if all of it is escaped."""


@dataclass(frozen=True, slots=True)
class Row:
    """One process; sizes in pages, except `pgtables_bytes`.

    Attributes:
        page_tables: Pages of page tables, where the kernel counted in pages (before 4.15).
    """

    pid: int
    tgid: int | None
    uid: int | None
    total_vm: int | None
    rss: int | None
    swap: int | None
    pgtables_bytes: int | None
    page_tables: int | None
    oom_score_adj: int | None
    name: str


@dataclass(slots=True)
class Table:
    """The rows as text: only those of victims and triggers are ever parsed.

    Attributes:
        wide: Whether the first column is as wide as from 4.19 on.
        is_incomplete: Whether rows were left out.
    """

    columns: tuple[str, ...]
    wide: bool
    rows: dict[int, str] = field(default_factory=dict)
    is_incomplete: bool = False

    def add(self, text: str) -> bool:
        """Keep a line if it is a row; return whether it is."""
        found = ROW.match(text)
        if found is None:
            return False
        pid = int(found[1])
        if pid in PIDS and len(text) <= MAX_ROW and (pid in self.rows or len(self.rows) < MAX_ROWS):
            self.rows[pid] = text
        else:
            self.is_incomplete = True
        return True

    def row(self, pid: int) -> Row | None:
        """Return the row of a thread or process; None if there is none, or it is damaged."""
        text = self.rows.get(pid)
        return None if text is None else _parse(self.columns, text)

    def all_rows(self) -> list[Row] | None:
        """Return all rows; None if one is damaged or was left out."""
        rows = [row for text in self.rows.values() if (row := _parse(self.columns, text))]
        return rows if len(rows) == len(self.rows) and not self.is_incomplete else None


def parse_columns(text: str) -> Table | None:
    """Return an empty table if this line names the columns of one."""
    found = COLUMNS.match(text) if len(text) <= MAX_ROW else None
    # 4.19 widened the first column ("[  pid  ]", commit c3b78b11efbb); 4.16 was the last with a bonus for root.
    return Table(tuple(found[1].split()), text.startswith("[  pid")) if found else None


def _parse(columns: tuple[str, ...], text: str) -> Row | None:
    # The name may contain numbers and spaces: it begins after as many numbers as there are columns.
    found = re.match(rf"^\[ *([0-9]{{1,10}})\]((?:{NUMBERS}){{{len(columns)}}})(?: (.*))?\Z", text, re.DOTALL)
    if not found:
        return None
    known = dict(zip(columns, map(int, found[2].split()), strict=True))
    known = {name: number for name, number in known.items() if number in POSSIBLE.get(name, range(1 << 44))}
    in_pages = [known.get(name) for name in columns if name in ("nr_ptes", "nr_pmds", "nr_puds")]
    return Row(
        pid=int(found[1]),
        tgid=known.get("tgid"),
        uid=known.get("uid"),
        total_vm=known.get("total_vm"),
        rss=known.get("rss"),
        swap=known.get("swapents"),
        pgtables_bytes=known.get("pgtables_bytes"),
        page_tables=_sum(in_pages),
        oom_score_adj=known.get("oom_score_adj"),
        name=found[3] or "",
    )


def _sum(parts: list[int | None]) -> int | None:
    known = [part for part in parts if part is not None]
    return sum(known) if known and len(known) == len(parts) else None
