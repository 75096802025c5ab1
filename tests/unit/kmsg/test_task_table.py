# SPDX-License-Identifier: Apache-2.0
"""The table of tasks: columns of different kernels, and names that look like numbers."""

from __future__ import annotations

import pytest

from ooMtrace.kmsg.task_table import MAX_ROWS, Row, Table, parse_columns

OLD = "[ pid ]   uid  tgid total_vm      rss nr_ptes nr_pmds swapents oom_score_adj name"
NEW = "[  pid  ]   uid  tgid total_vm      rss rss_anon rss_file rss_shmem pgtables_bytes swapents oom_score_adj name"


def parsed(columns: str) -> Table:
    table = parse_columns(columns)
    assert table is not None
    return table


def test_page_tables_are_in_pages_on_old_kernels():
    table = parsed(OLD)
    assert table.add("[ 1878]  1000  1870   151144    151144     307       3       11          -998 python")

    assert not table.wide
    assert table.row(1878) == Row(
        pid=1878,
        tgid=1870,
        uid=1000,
        total_vm=151144,
        rss=151144,
        swap=11,
        pgtables_bytes=None,
        page_tables=310,
        oom_score_adj=-998,
        name="python",
    )


def test_page_tables_are_in_bytes_on_new_kernels():
    table = parsed(NEW)
    assert table.add("[   1878]  1000  1870   151144    151144   100     40      4    40960      11           0 python")

    assert table.wide
    row = table.row(1878)
    assert row is not None
    assert (row.pgtables_bytes, row.page_tables, row.rss, row.swap) == (40960, None, 151144, 11)


@pytest.mark.parametrize("name", ["1 2 3", "", " ", "a\nb", "[ 7]"])
def test_a_name_is_what_follows_the_last_column(name):
    table = parsed(OLD)
    assert table.add(f"[    9]     0     9        1        1       1       0        0             0 {name}")

    row = table.row(9)
    assert row is not None
    assert row.name == name


def test_a_truncated_row_is_none():
    table = parsed(OLD)
    assert table.add("[    9]     0     9        1        1       1")

    assert table.row(9) is None
    assert table.row(10) is None


@pytest.mark.parametrize("text", ["[ pid ] name", "[ pid ]   UID  tgid name", "pid uid tgid name", f"{NEW} more"])
def test_other_lines_are_no_columns(text):
    assert parse_columns(text) is None


def test_impossible_numbers_are_absent():
    table = parsed(OLD)
    assert table.add("[    9]     0     9        1       -2      -1       0       -3          1001 a")

    row = table.row(9)
    assert row is not None
    assert (row.total_vm, row.rss, row.page_tables, row.swap, row.oom_score_adj) == (1, None, None, None, None)


def test_all_rows_are_returned_unless_one_is_damaged():
    table = parsed(OLD)
    for pid in (7, 8):
        table.add(f"[    {pid}]     0     {pid}        1        1       1       0        0             0 a")
    rows = table.all_rows()
    assert rows is not None
    assert [row.pid for row in rows] == [7, 8]

    table.add("[    9]     0     9        1        1       1")
    assert table.all_rows() is None


def test_other_lines_are_no_rows():
    table = parsed(OLD)

    assert not table.add("[    9] eth0: link up")
    assert not table.add("Mem-Info:")
    assert table.rows == {}


def test_a_table_does_not_grow_without_bound():
    table = parsed(OLD)
    table.rows = dict.fromkeys(range(MAX_ROWS), "")

    assert table.add("[999999]     0     9        1        1       1       0        0             0 a")
    assert len(table.rows) == MAX_ROWS
