# SPDX-License-Identifier: Apache-2.0
"""The kernel matrix: which boots are chosen, and what becomes of their results."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from vm import kernels, matrix, payload, results, support
from vm.run import main

CELLS = list(matrix.load().cells())
SCENARIOS = {name for machine in {cell.machine for cell in CELLS} for name in payload.scenarios(machine.name)}
DAY = 24 * 3600


@pytest.fixture
def boot():
    return next(cell for cell in CELLS if cell.name == "6.1-bookworm-default")


def listed(capsys, *options: str) -> list[str]:
    assert main(["--list", *options]) == 0
    return capsys.readouterr().out.splitlines()


def run(cell, out: Path, day: int, **statuses: int) -> None:
    """Leave results as a guest does."""
    table = out / cell.name / "guest/results.tsv"
    table.parent.mkdir(parents=True, exist_ok=True)
    table.write_text("".join(f"{name}\t{status}\t1.5\n" for name, status in statuses.items()))
    os.utime(table, (day * DAY, day * DAY))


def cell_of(table: list[tuple[str, ...]], title: str, column: str) -> str:
    return next(row for row in table if row[0] == title)[table[0].index(column)]


def test_the_boots_of_ci_have_every_series_machine_and_scenario_but_the_named_ones(capsys):
    default = matrix.load().default_cells()

    assert listed(capsys) == [cell.name for cell in default]
    whole = [cell for cell in default if not cell.only]
    assert {cell.kernel.name for cell in whole} == {"5.10.223", "5.10.262", "6.1", "6.12", "7.3"}
    assert {cell.machine.name for cell in whole} == {cell.machine.name for cell in CELLS} - {"crowd"}
    assert [cell.only for cell in default if cell.kernel.architecture.name == "arm64"] == [("memcg", "group")]


def test_a_scenario_runs_in_the_boots_of_ci_that_have_it(capsys):
    assert listed(capsys, "--only", "cpuset") == ["7.3-bookworm-numa", "5.10.262-bookworm-numa"]


def test_other_architectures_and_configurations_run_only_by_name(capsys):
    amd64 = listed(capsys, "--arch", "amd64")

    assert set(listed(capsys)) - set(amd64) == {"6.1-arm64-bookworm-default"}
    assert not [name for name in amd64 if any(mark in name for mark in ("arm64", "sid", "crowd"))]
    assert listed(capsys, "--arch", "arm64") == [cell.name for cell in CELLS if "arm64" in cell.name]
    assert listed(capsys, "--kernel", "6.12-rt") == ["6.12-rt-trixie-default"]
    assert listed(capsys, "--userland", "sid") == ["7.3-sid-default"]


def test_an_unknown_name_is_an_error(capsys):
    assert main(["--kernel", "6.12-riscv"]) == 2
    assert "no kernel 6.12-riscv" in capsys.readouterr().err


def test_the_machine_with_systemd_is_not_booted_without_the_package(capsys, tmp_path):
    without = ["--kernel", "6.12", "--machine", "systemd", "--only", payload.INSTALLS_PACKAGE]

    for options in (without, [*without, "--deb", str(tmp_path / "absent.deb")]):
        assert main(options) == 2
        assert "no package for own_service: run `make deb`" in capsys.readouterr().err


def test_a_module_comes_after_those_that_it_depends_on(tmp_path):
    needs = {"ext4": "mbcache,jbd2", "jbd2": "crc-t10", "crc_t10": "", "mbcache": "", "other": ""}
    available = {name: tmp_path / f"{name}.ko" for name in needs}
    for name, file in available.items():
        file.write_bytes(f"\0license=GPL\0depends={needs[name]}\0".encode())

    found = list(kernels._with_dependencies(["absent", "ext4", "jbd2"], available))

    assert found == ["mbcache", "crc_t10", "jbd2", "ext4"]


def test_a_later_run_replaces_only_the_results_that_it_has(tmp_path, boot):
    table = tmp_path / "kept.tsv"
    kept: dict[results.Key, results.Result] = {}
    for day, statuses in ((0, {"memcg": 1, "group": 0}), (1, {"memcg": 0})):
        run(boot, tmp_path, day, **statuses)
        kept |= results.of_boot(boot, tmp_path)
    results.save(kept, CELLS, table)

    assert results.load(table) == {
        (boot.name, "memcg"): results.Result("0", "1970-01-02"),
        (boot.name, "group"): results.Result("0", "1970-01-01"),
    }


def test_results_of_boots_that_are_not_in_the_matrix_are_dropped(tmp_path):
    results.save({("2.6-potato-default", "memcg"): results.Result("0", "1970-01-01")}, CELLS, tmp_path / "kept.tsv")

    assert results.load(tmp_path / "kept.tsv") == {}


def test_a_guest_that_did_not_finish_has_no_results(tmp_path, boot):
    assert results.of_boot(boot, tmp_path) == {}


def test_the_support_table_has_a_column_for_what_was_run_and_the_worst_result():
    kept = {
        ("6.1-bookworm-default", "memcg"): results.Result("0", "2026-11-02"),
        ("6.1-bookworm-default", "threads"): results.Result("0", "2026-11-02"),
        ("6.1-bookworm-smp", "threads"): results.Result("124", "2026-11-01"),
        ("6.12-arm64-trixie-default", "memcg"): results.Result("0", "2026-11-03"),
    }

    table = list(support.rows(CELLS, kept))

    assert table[0] == ("kind of OOM", "6.1", "6.12-arm64 trixie")
    assert {len(row) for row in table} == {3}
    assert cell_of(table, support.TITLES["memcg"], "6.1") == "yes"
    assert cell_of(table, support.TITLES["threads"], "6.1") == "NO"
    assert cell_of(table, support.TITLES["threads"], "6.12-arm64 trixie") == "-"
    assert cell_of(table, "oldest result", "6.1") == "2026-11-01"


def test_the_support_table_was_written_from_the_results_that_are_kept():
    cells = [cell for cell in CELLS if cell.machine.by_default]

    assert support.TABLE.read_text() == support.page(cells, results.load())


def test_the_support_table_has_a_row_for_each_scenario():
    assert support.TITLES.keys() == SCENARIOS - {"z_end", "crowd"}
