# SPDX-License-Identifier: Apache-2.0
"""The writer: what finds no room is missing again, and only what is out is kept in mind."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.probe_events import BOOT_ID, kill, lost

from ooMtrace.errors import StateError
from ooMtrace.output.encode import encode
from ooMtrace.reconcile.checkpoint import FILE_NAME, Checkpoint, CheckpointStore, open_checkpoint, parse
from ooMtrace.record import Record
from ooMtrace.runtime.line_writer import LineWriter

LINE = kill()


class FakeTracer:
    def __init__(self) -> None:
        self.now: list[Record] = []
        self.waiting: list[Record] = []
        self.missing: list[Record] = []
        self.back: list[Record] = []
        self.state: Checkpoint | None = Checkpoint(BOOT_ID, 17, "2023-11-14T22:13:19.000000Z")
        self.look_at: int | None = None
        self.lost = 0
        self.line_at: int | None = None

    def records(self) -> Iterator[Record]:
        while self.now:
            yield self.now.pop(0)

    def drain(self) -> Iterator[Record]:
        self.now += self.waiting
        return self.records()

    def reconcile(self, *, final: bool = False) -> Iterator[Record]:
        self.now += self.missing
        self.missing = []
        return self.records()

    def lost_records(self) -> int:
        return self.lost

    def mark_dropped(self, line: Record) -> None:
        self.back.append(line)

    def reconcile_due(self) -> int | None:
        return self.look_at

    def next_due(self) -> int | None:
        return self.line_at

    def checkpoint(self) -> Checkpoint | None:
        return self.state


class FakeOutbox:
    """Room for so many lines; what is read is out."""

    def __init__(self, room: int) -> None:
        self.room, self.reads = room, True
        self.lines: list[bytes] = []
        self.out: list[bytes] = []
        self.retry: int | None = None

    @property
    def empty(self) -> bool:
        return not self.lines

    def put(self, line: bytes) -> bool:
        if len(self.lines) == self.room:
            return False
        self.lines.append(line)
        return True

    def flush(self) -> None:
        if self.reads:
            self.out += self.lines
            self.lines = []

    def retry_ms(self) -> int | None:
        return self.retry

    def drain(self, seconds: float) -> None:
        self.flush()


@pytest.fixture
def tracer() -> FakeTracer:
    return FakeTracer()


def sit(tracer: FakeTracer, outbox: FakeOutbox, store: CheckpointStore | None = None) -> LineWriter:
    return LineWriter(tracer, outbox, store or CheckpointStore(None, print), pretty=False)  # type: ignore[arg-type]


def test_lines_go_out_as_they_come(tracer):
    outbox = FakeOutbox(9)
    tracer.now = [LINE, lost()]
    sit(tracer, outbox).pump()

    assert outbox.out == [encode(LINE), encode(lost())]


def test_what_finds_no_room_goes_back(tracer):
    outbox = FakeOutbox(1)
    outbox.reads = False
    tracer.now = [LINE, LINE, LINE]
    writer = sit(tracer, outbox)
    writer.pump()

    assert tracer.back == [LINE, LINE]
    assert writer.dropped == 2


def test_as_long_as_nothing_goes_out_nobody_looks_for_more(tracer):
    outbox = FakeOutbox(9)
    outbox.reads = False
    writer = sit(tracer, outbox)
    tracer.now = [LINE]
    writer.pump()
    tracer.missing, tracer.look_at = [lost()], 1
    writer.pump()
    assert tracer.missing
    assert writer.timeout_ms() is None

    outbox.reads = True
    writer.pump()
    assert not tracer.missing
    assert outbox.out == [encode(LINE), encode(lost())]


def test_a_look_settles_what_was_refused(tracer):
    outbox = FakeOutbox(0)
    writer = sit(tracer, outbox)
    tracer.now = [LINE]
    writer.pump()
    assert writer.dropped == 1

    outbox.room, tracer.look_at, tracer.missing = 9, 1, [lost()]
    writer.pump()
    assert writer.dropped == 0
    assert outbox.out == [encode(lost())]


def test_at_the_end_all_that_waits_goes_out_and_what_is_missing_after_it(tracer):
    outbox = FakeOutbox(9)
    tracer.now, tracer.waiting, tracer.missing = [LINE], [LINE], [lost()]
    sit(tracer, outbox).finish()

    assert outbox.out == [encode(LINE), encode(LINE), encode(lost())]


def test_at_the_end_with_nobody_reading_nothing_more_is_looked_for(tracer):
    outbox = FakeOutbox(1)
    outbox.reads = False
    tracer.now, tracer.missing = [LINE, LINE], [lost()]
    writer = sit(tracer, outbox)
    writer.finish()

    assert writer.dropped == 1
    assert tracer.missing


@pytest.mark.parametrize(
    ("line_in", "look_in", "retry", "least", "most"),
    [
        (None, None, None, None, None),
        (None, None, 1000, 1000, 1000),
        (0.5, None, None, 400, 501),
        (0.5, 0.2, 1000, 100, 201),
        (None, -3, None, 0, 0),
    ],
)
def test_it_waits_for_whatever_comes_first(tracer, line_in, look_in, retry, least, most):
    outbox, now = FakeOutbox(9), time.monotonic_ns()
    outbox.retry = retry
    tracer.line_at = None if line_in is None else now + int(line_in * 1e9)
    tracer.look_at = None if look_in is None else now + int(look_in * 1e9)
    waits = sit(tracer, outbox).timeout_ms()

    assert (waits is None) == (least is None)
    if waits is not None:
        assert least <= waits <= most


def test_what_is_out_is_kept_and_what_is_not_is_not(tracer, tmp_path):
    outbox = FakeOutbox(9)
    with open_checkpoint(tmp_path / "state", print) as store:
        outbox.reads = False
        tracer.now = [LINE]
        writer = sit(tracer, outbox, store)
        writer.pump()
        assert not (tmp_path / "state" / FILE_NAME).exists()
        outbox.reads = True
        writer.pump()
        assert parse((tmp_path / "state" / FILE_NAME).read_bytes()) == tracer.state
        tracer.state = None
        writer.pump()
    with open_checkpoint(tmp_path / "state", print) as store:
        assert store.checkpoint is not None
        assert store.checkpoint.oom_kill == 17


def test_the_file_is_written_only_when_there_is_news(tracer, tmp_path):
    file = tmp_path / "state" / FILE_NAME
    with open_checkpoint(tmp_path / "state", print) as store:
        writer = sit(tracer, FakeOutbox(9), store)
        writer.pump()
        before = file.stat().st_ino
        tracer.state = Checkpoint(BOOT_ID, 17, "2023-11-14T22:13:20.000000Z")
        writer.pump()
        assert file.stat().st_ino == before
        tracer.state = Checkpoint(BOOT_ID, 18, "2023-11-14T22:13:20.000000Z")
        writer.pump()
        assert file.stat().st_ino != before


def test_a_damaged_file_is_said_to_be_and_replaced(tracer, tmp_path):
    folder, said = tmp_path / "state", []
    folder.mkdir(mode=0o700)
    (folder / FILE_NAME).write_bytes(b"oomtrace-state 1\nboot")
    with open_checkpoint(folder, said.append) as store:
        assert store.checkpoint is None
        sit(tracer, FakeOutbox(9), store).pump()

    assert len(said) == 1
    assert "is corrupt" in said[0]
    assert parse((folder / FILE_NAME).read_bytes()) == tracer.state


def test_without_a_folder_nothing_is_kept(tracer):
    with open_checkpoint(None, print) as store:
        store.save(tracer.state)
        assert store.checkpoint is None


def test_a_folder_that_is_not_ours_alone_is_refused(tmp_path: Path):
    folder = tmp_path / "state"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(StateError, match="may be written by others"), open_checkpoint(folder, print):
        pass
