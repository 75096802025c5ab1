# SPDX-License-Identifier: Apache-2.0
"""What one run leaves to the next, and what is not believed."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.clock import FakeClock

from ooMtrace.errors import StateError
from ooMtrace.reconcile.checkpoint import FILE_NAME, Checkpoint, CheckpointStore, open_checkpoint, parse
from ooMtrace.reconcile.state_dir import StateDir

BOOT = "1cfd1ec5-69f6-4723-812e-ff5c67412017"
OTHER_BOOT = "2dfd1ec5-69f6-4723-812e-ff5c67412017"
STATE = Checkpoint(BOOT, 17, "2026-11-24T02:31:33.321081Z")


def test_a_checkpoint_is_parsed_as_it_was_dumped():
    assert STATE.dump() == (
        b"oomtrace-state 1\nboot_id 1cfd1ec5-69f6-4723-812e-ff5c67412017\noom_kill 17\n"
        b"time 2026-11-24T02:31:33.321081Z\n"
    )
    assert parse(STATE.dump()) == STATE


@pytest.mark.parametrize("size", range(len(STATE.dump())))
def test_a_truncated_checkpoint_is_rejected(size):
    assert parse(STATE.dump()[:size]) is None


def test_a_checkpoint_with_something_before_or_after_it_is_rejected():
    assert parse(STATE.dump() + b"\n") is None
    assert parse(STATE.dump() * 2) is None
    assert parse(b"\n" + STATE.dump()) is None


@given(st.binary(max_size=200))
def test_any_other_text_is_rejected(data):
    assert parse(data) is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"17\n", b"-17\n"),
        (b"17\n", b"+17\n"),
        (b"17\n", b"1_7\n"),
        (b"17\n", b" 17\n"),
        (b"17\n", b"0x17\n"),
        (b"17\n", b"1" * 19 + b"\n"),
        (b"17\n", "\u0661\u0667\n".encode()),
        (b"17\n", b"\n"),
        (b"state 1", b"state 2"),
        (b"\n", b"\r\n"),
        (b"T02", b"\xff02"),
        (b"T02", b"T25"),
        (b"T02", b" 02"),
        (b"-11-24", b"-02-30"),
        (b"2026", b"0000"),
        (b"2026", b"12026"),
        (b"Z", b""),
        (b"Z", b"+01:00"),
        (BOOT.encode(), b"x"),
        (BOOT.encode(), BOOT.upper().encode()),
        (BOOT.encode(), BOOT[:-1].encode()),
    ],
)
def test_a_value_that_no_run_writes_is_rejected(old, new):
    assert parse(STATE.dump().replace(old, new)) is None


@pytest.mark.parametrize(
    ("new", "written"),
    [
        (Checkpoint(BOOT, 17, "2023-11-14T22:13:20Z"), False),
        (Checkpoint(BOOT, 18, "2023-11-14T22:13:20Z"), True),
        (Checkpoint(OTHER_BOOT, 3, "2023-11-14T22:13:20Z"), True),
        (Checkpoint(OTHER_BOOT, 17, "2023-11-14T22:13:20Z"), True),
        (None, False),
    ],
)
def test_a_checkpoint_is_written_when_its_position_changes_also_to_a_smaller_count(tmp_path, new, written):
    old = Checkpoint(BOOT, 17, "2023-11-14T22:13:19Z")
    with open_checkpoint(tmp_path / "state", print) as store:
        store.save(old)
        store.save(new)
        assert store.checkpoint == (new if written else old)
    with open_checkpoint(tmp_path / "state", print) as store:
        assert store.checkpoint == (new if written else old)


def test_after_another_boot_the_kernel_counts_from_0():
    assert STATE.ordinal_in(BOOT) == 17
    assert STATE.ordinal_in("another") == 0
    assert STATE.ordinal_in(None) == 0


class Kernel:
    """What /proc says of this boot."""

    def __init__(self, proc: Path, count: int | None = 20) -> None:
        self.proc = proc
        (proc / "sys/kernel/random").mkdir(parents=True)
        (proc / "sys/kernel/random/boot_id").write_text(f"{BOOT}\n")
        if count is not None:
            (proc / "vmstat").write_text(f"nr_free_pages 1\noom_kill {count}\n")


def left(path: Path, data: bytes) -> None:
    """Leave a state file of an earlier run."""
    path.mkdir(mode=0o700)
    (path / FILE_NAME).write_bytes(data)


@pytest.mark.parametrize(
    ("boot_id", "position", "count", "believed"),
    [
        (BOOT, 20, 20, True),
        (BOOT, 21, 20, False),
        (BOOT, 10**18 - 1, 20, False),
        (OTHER_BOOT, 21, 20, True),
        (BOOT, 21, None, True),
    ],
)
def test_a_position_that_the_kernel_has_not_reached_is_corrupt(tmp_path, boot_id, position, count, believed):
    kernel = Kernel(tmp_path / "proc", count)
    state = Checkpoint(boot_id, position, STATE.time)
    left(tmp_path / "state", state.dump())
    said: list[str] = []

    store = CheckpointStore(tmp_path / "state", said.append, proc=kernel.proc)

    assert store.checkpoint == (state if believed else None)
    corrupt = "state file is corrupt; kills since the last run cannot be reported: see `oomtrace logs`"
    assert said == ([] if believed else [corrupt])


def fifo(file: Path) -> None:
    os.mkfifo(file, 0o600)


def large(file: Path) -> None:
    with file.open("wb") as data:
        data.truncate(1 << 30)


def writable_by_others(file: Path) -> None:
    file.write_bytes(STATE.dump())
    file.chmod(0o666)


@pytest.mark.parametrize(
    "make",
    [
        fifo,
        large,
        writable_by_others,
        lambda file: file.symlink_to("/dev/zero"),
        lambda file: file.symlink_to("nowhere"),
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(bytes(range(256)) * 100),
        lambda file: file.write_bytes(STATE.dump()[:-1]),
    ],
    ids=["fifo", "1 GB", "mode 666", "link", "dangling link", "empty", "binary", "truncated"],
)
def test_whatever_lies_in_place_of_the_file_costs_one_message_and_is_replaced(tmp_path, make: Callable[[Path], object]):
    (tmp_path / "state").mkdir(mode=0o700)
    make(tmp_path / "state" / FILE_NAME)
    said: list[str] = []

    with open_checkpoint(tmp_path / "state", said.append) as store:
        assert store.checkpoint is None
        store.save(STATE)

    assert len(said) == 1
    assert said[0].endswith("kills since the last run cannot be reported: see `oomtrace logs`")
    assert (tmp_path / "state" / FILE_NAME).read_bytes() == STATE.dump()


def test_a_directory_in_place_of_the_file_costs_one_message(tmp_path):
    (tmp_path / "state" / FILE_NAME / "full").mkdir(parents=True)
    (tmp_path / "state").chmod(0o700)
    said: list[str] = []

    with open_checkpoint(tmp_path / "state", said.append) as store:
        assert store.checkpoint is None
        for _ in range(3):
            store.save(STATE)

    assert said == [
        f"{tmp_path}/state/checkpoint is not a regular file; tracing without the checkpoint; "
        "kills since the last run cannot be reported: see `oomtrace logs`"
    ]


def later(position: int) -> Checkpoint:
    return Checkpoint(BOOT, position, STATE.time)


def test_a_removed_directory_is_created_again(tmp_path):
    path = tmp_path / "state"
    with open_checkpoint(path, pytest.fail) as store:
        store.save(later(1))
        for file in path.iterdir():
            file.unlink()
        path.rmdir()
        store.save(later(2))
        assert parse((path / FILE_NAME).read_bytes()) == later(2)
        with pytest.raises(StateError, match="is used by another oomtrace"):
            CheckpointStore(path, pytest.fail)


@pytest.mark.parametrize("replace", [fifo, lambda path: path.symlink_to("/tmp"), lambda path: path.write_bytes(b"")])
def test_a_directory_that_is_replaced_is_reported_once_and_retried_once_a_second(
    tmp_path, monkeypatch, replace: Callable[[Path], object]
):
    path, clock, said, opened = tmp_path / "state", FakeClock(), list[str](), list[Path]()
    store = CheckpointStore(path, said.append, clock=clock)
    store.save(later(1))
    for file in path.iterdir():
        file.unlink()
    path.rmdir()
    replace(path)

    def state_dir(path: Path) -> StateDir:
        opened.append(path)
        return StateDir(path)

    monkeypatch.setattr("ooMtrace.reconcile.checkpoint.StateDir", state_dir)

    for position in range(2, 1002):
        store.save(later(position))
        clock.advance(0.01)

    assert len(opened) == 10
    assert said == [f"cannot save the checkpoint ({path}: Not a directory); until it is saved, a restart repeats lines"]
    path.unlink()
    clock.advance(1)
    store.save(later(1002))
    store.save(later(1003))
    assert said[1:] == [f"{path}: the checkpoint is saved again"]
    assert parse((path / FILE_NAME).read_bytes()) == later(1003)
    store.close()


def test_what_could_not_be_saved_before_is_saved_at_the_end(tmp_path):
    said: list[str] = []
    with open_checkpoint(tmp_path / "state", said.append) as store:
        store.save(later(1))
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
        try:
            store.save(later(2))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        store.save(later(3))
        assert store.checkpoint == later(1)

    assert [message.partition(" (")[0] for message in said] == [
        "cannot save the checkpoint", f"{tmp_path}/state: the checkpoint is saved again"
    ]  # fmt: skip
    assert parse((tmp_path / "state" / FILE_NAME).read_bytes()) == later(3)


def test_without_file_descriptors_at_the_start_the_checkpoint_is_saved_later(tmp_path):
    (tmp_path / "state").mkdir(mode=0o700)
    said: list[str] = []
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
    try:
        store = CheckpointStore(tmp_path / "state", said.append)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    store.save(STATE)
    store.close()

    assert said == [
        f"{tmp_path}/state: Too many open files; tracing without the checkpoint; "
        "kills since the last run cannot be reported: see `oomtrace logs`",
        f"{tmp_path}/state: the checkpoint is saved again",
    ]
    assert (tmp_path / "state" / FILE_NAME).read_bytes() == STATE.dump()
