# SPDX-License-Identifier: Apache-2.0
"""The table of tasks in a report, dump_tasks() in mm/oom_kill.c: read by the names of its columns. Pure.

The columns changed: nr_ptes from 3.9; nr_pmds beside it from 4.0; pgtables_bytes (bytes, not pages) instead of both
from 4.15, together with a wider pid from 4.19; rss_anon, rss_file and rss_shmem from 6.8.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

COLUMNS = re.compile(r"^\[ *pid *\]((?: +[a-z_]+)+) +name *\Z")
NUMBERS = r" +-?\d{1,13}"
ROW = re.compile(rf"^\[ *(\d{{1,10}})\](?:{NUMBERS}){{5}}", re.DOTALL)

MOST_ROWS = 100_000
"""More are not kept, so that no log can make us grow without bound."""


@dataclass(frozen=True, slots=True)
class Row:
    """One process; sizes in pages, but `pgtables_bytes`.

    Attributes:
        page_tables: Pages of page tables, where the kernel counted them in pages (before 4.15).
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
    """What was listed. Rows are kept as they came: only those of victims are ever looked at."""

    columns: tuple[str, ...]
    wide: bool
    rows: dict[int, str] = field(default_factory=dict)

    def add(self, text: str) -> bool:
        """Keep a line if it is a row; say whether it is."""
        found = ROW.match(text)
        if found and len(self.rows) < MOST_ROWS:
            self.rows[int(found[1])] = text
        return found is not None

    def row(self, pid: int) -> Row | None:
        """Return the row of the thread or process; None if there is none that can be read."""
        text = self.rows.get(pid)
        return None if text is None else _parse(self.columns, text)


def table(text: str) -> Table | None:
    """Begin a table, if this line names its columns."""
    found = COLUMNS.match(text)
    # 4.19 widened the first column ("[  pid  ]", commit c3b78b11efbb), a kernel without the bonus for root of 4.16.
    return Table(tuple(found[1].split()), text.startswith("[  pid")) if found else None


def _parse(columns: tuple[str, ...], text: str) -> Row | None:
    # The name is anything, numbers and spaces too: it begins after as many numbers as there are columns.
    found = re.match(rf"^\[ *(\d{{1,10}})\]((?:{NUMBERS}){{{len(columns)}}})(?: (.*))?\Z", text, re.DOTALL)
    if not found:
        return None
    known = dict(zip(columns, map(int, found[2].split()), strict=True))
    in_pages = [known[name] for name in columns if name in ("nr_ptes", "nr_pmds", "nr_puds")]
    return Row(
        pid=int(found[1]),
        tgid=known.get("tgid"),
        uid=known.get("uid"),
        total_vm=known.get("total_vm"),
        rss=known.get("rss"),
        swap=known.get("swapents"),
        pgtables_bytes=known.get("pgtables_bytes"),
        page_tables=sum(in_pages) if in_pages else None,
        oom_score_adj=known.get("oom_score_adj"),
        name=found[3] or "",
    )
