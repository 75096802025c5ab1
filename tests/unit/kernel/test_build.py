# SPDX-License-Identifier: Apache-2.0
"""What is read of a kernel's build, and what a store of it spares."""

from __future__ import annotations

from pathlib import Path

import pytest

from ooMtrace.kernel import build
from ooMtrace.kernel.build import Build, Types, read_build
from ooMtrace.kernel.offsets import Offsets

TYPES = Types(offsets=Offsets({"OFF_TASK_MM": 8}, ()), mark_victim=("task_struct *",), oom_kill_process=7)
PER_CPU = "".join(f"{at:016x} A per_cpu_{at}\n" for at in range(2000))
KALLSYMS = """\
ffffffff{base:04x}0000 T _stext
ffffffff{base:04x}0000 T _text
ffffffff{base:04x}2340 t __oom_kill_process
ffffffff{base:04x}27a0 t oom_kill_process
ffffffff{base:04x}2930 t oom_reaper
"""


class Store:
    """Keeps them in memory."""

    def __init__(self) -> None:
        self.build: Build | None = None
        self.writes = 0

    def read_build(self) -> Build | None:
        return self.build

    def write_build(self, new: Build) -> None:
        self.build = new
        self.writes += 1


@pytest.fixture
def store(monkeypatch) -> Store:
    monkeypatch.setattr(build, "_types", lambda _: TYPES)
    return Store()


def boot(proc: Path, base: int, before: str = PER_CPU) -> dict[str, tuple[int, int]]:
    """Write a /proc/kallsyms; return where the symbols are."""
    (proc / "kallsyms").write_text(before + KALLSYMS.format(base=base))
    at = 0xFFFFFFFF_00000000 + (base << 16)
    return {"oom_kill_process": (at + 0x27A0, at + 0x2930), "__oom_kill_process": (at + 0x2340, at + 0x27A0)}


def test_the_first_start_reads_everything_and_keeps_it_without_an_address(tmp_path, store):
    expected = boot(tmp_path, 0x8123)

    assert read_build(tmp_path, tmp_path, store) == (TYPES, expected)
    assert store.build == Build(TYPES, {"oom_kill_process": (0x27A0, 0x2930), "__oom_kill_process": (0x2340, 0x27A0)})


@pytest.mark.parametrize("before", ["", PER_CPU])
def test_in_another_boot_the_symbols_are_where_that_boot_has_them(tmp_path, store, before):
    boot(tmp_path, 0x8123, before)
    read_build(tmp_path, tmp_path, store)
    expected = boot(tmp_path, 0x9ABC, before)

    assert read_build(tmp_path, tmp_path, store) == (TYPES, expected)
    assert store.writes == 1


def test_what_the_store_knows_is_not_read_again(tmp_path, store, monkeypatch):
    expected = boot(tmp_path, 0x8123)
    read_build(tmp_path, tmp_path, store)
    monkeypatch.setattr(build, "_types", lambda _: pytest.fail("BTF is read"))
    monkeypatch.setattr(build, "read", lambda _: pytest.fail("all of kallsyms is read"))

    assert read_build(tmp_path, tmp_path, store) == (TYPES, expected)


def test_hidden_addresses_are_neither_kept_nor_computed(tmp_path, store):
    boot(tmp_path, 0x8123)
    shown = (tmp_path / "kallsyms").read_text()
    hidden = "".join(f"{0:016x}{line[16:]}\n" for line in shown.splitlines())
    (tmp_path / "kallsyms").write_text(hidden)
    nowhere = {"oom_kill_process": (0, 0), "__oom_kill_process": (0, 0)}

    assert read_build(tmp_path, tmp_path, store) == (TYPES, nowhere)
    assert store.writes == 0
    (tmp_path / "kallsyms").write_text(shown)
    read_build(tmp_path, tmp_path, store)
    (tmp_path / "kallsyms").write_text(hidden)
    assert read_build(tmp_path, tmp_path, store) == (TYPES, nowhere)


def test_without_kallsyms_or_a_store_there_are_no_symbols(tmp_path, store):
    assert read_build(tmp_path, tmp_path, store) == (TYPES, {})
    assert read_build(tmp_path, tmp_path, None) == (TYPES, {})
    assert store.writes == 0


def test_an_endless_kallsyms_without_the_base_is_left_soon(tmp_path, store):
    boot(tmp_path, 0x8123)
    read_build(tmp_path, tmp_path, store)
    (tmp_path / "kallsyms").unlink()
    (tmp_path / "kallsyms").symlink_to("/dev/zero")

    assert build._read_base(tmp_path / "kallsyms") == 0
