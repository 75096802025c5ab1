# SPDX-License-Identifier: Apache-2.0
"""The line writer: a record that finds no room is pending again, and uses up neither its number nor a loss."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.clock import FakeClock
from support.probe_events import BOOT_ID, kill, lost
from support.sigkill_events import event
from support.sigkill_events import records as sigkills

from ooMtrace.errors import StateError
from ooMtrace.output.encode import encode
from ooMtrace.reconcile.checkpoint import FILE_NAME, Checkpoint, CheckpointStore, open_checkpoint, parse
from ooMtrace.record import OomLost, Record, Sigkill
from ooMtrace.runtime.line_writer import DRAIN_S, LineWriter

KILL = kill()
MS = 1_000_000


class FakeTracer:
    """Records that are ready, that wait, and that only a reconciliation finds."""

    def __init__(self) -> None:
        self.ready: list[Record] = []
        self.waiting: list[Record] = []
        self.missing: list[Record] = []
        self.dropped: list[Record] = []
        self.lost = 0
        self.sigkills: FakeSigkills | None = None
        self.state: Checkpoint | None = Checkpoint(BOOT_ID, 17, "2023-11-14T22:13:19.000000Z")
        self.due: int | None = None
        self.reconcile_at: int | None = None
        self.final: list[bool] = []

    def records(self) -> Iterator[Record]:
        while self.ready:
            yield self.ready.pop(0)

    def drain(self) -> Iterator[Record]:
        self.ready += self.waiting
        self.waiting = []
        return self.records()

    def reconcile(self, *, final: bool = False) -> Iterator[Record]:
        self.final.append(final)
        self.ready += self.missing
        self.missing = []
        return self.records()

    def mark_dropped(self, record: Record) -> None:
        self.dropped.append(record)

    def lost_records(self) -> int:
        return self.lost

    def reconcile_due(self) -> int | None:
        return self.reconcile_at

    def next_due(self) -> int | None:
        return self.due

    def checkpoint(self) -> Checkpoint | None:
        return self.state


class FakeSigkills:
    """Announces a loss until a line that states it was accepted."""

    def __init__(self, lost: int) -> None:
        self.lost = lost

    def with_losses(self, one: Sigkill) -> Sigkill:
        return replace(one, sigkill=replace(one.sigkill, dropped_before=self.lost or None))

    def accept(self, one: Sigkill) -> None:
        self.lost -= one.sigkill.dropped_before or 0


class FakeOutputs:
    """A queue with room for so many lines; `reads` says whether somebody takes them out."""

    def __init__(self, room: int = 99, *, reads: bool = True) -> None:
        self.room, self.reads = room, reads
        self.queue: list[bytes] = []
        self.written: list[bytes] = []
        self.retry: int | None = None
        self.drains: list[float] = []

    @property
    def empty(self) -> bool:
        return not self.queue

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.written]

    def put(self, record: Record) -> bool:
        if len(self.queue) == self.room:
            return False
        self.queue.append(encode(record))
        return True

    def flush(self) -> None:
        if self.reads:
            self.written += self.queue
            self.queue = []

    def retry_ms(self) -> int | None:
        return self.retry

    def drain(self, seconds: float) -> None:
        self.drains.append(seconds)
        self.flush()


@pytest.fixture
def tracer() -> FakeTracer:
    return FakeTracer()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def writer_of(
    tracer: FakeTracer,
    outputs: FakeOutputs,
    store: CheckpointStore | None = None,
    *,
    clock: FakeClock | None = None,
) -> LineWriter:
    return LineWriter(
        tracer,  # type: ignore[arg-type]
        outputs,  # type: ignore[arg-type]
        store or CheckpointStore(None, print),
        clock=clock or FakeClock(),
    )


def test_lines_are_written_in_order_and_numbered_from_1(tracer):
    outputs = FakeOutputs()
    records: list[Record] = [KILL, lost(), KILL]
    tracer.ready = records[:2]
    writer = writer_of(tracer, outputs)
    writer.pump()
    tracer.ready = records[2:]
    writer.pump()

    assert outputs.written == [encode(replace(one, seq=n)) for n, one in enumerate(records, 1)]


def test_records_that_find_no_room_are_pending_again(tracer):
    outputs = FakeOutputs(room=1, reads=False)
    first, second, third = (kill(id=str(n)) for n in range(3))
    tracer.ready = [first, second, third]
    writer = writer_of(tracer, outputs)
    writer.pump()

    assert tracer.dropped == [second, third]
    assert writer.dropped == 2


def test_a_record_that_finds_no_room_uses_up_no_number(tracer):
    outputs = FakeOutputs(room=1, reads=False)
    tracer.ready = [KILL, KILL, KILL]
    writer = writer_of(tracer, outputs)
    writer.pump()
    outputs.reads = True
    tracer.ready = [KILL]
    writer.pump()

    assert [line["seq"] for line in outputs.lines] == [1, 2]


def test_lost_records_are_announced_once_and_by_the_next_line(tracer):
    outputs = FakeOutputs()
    writer = writer_of(tracer, outputs)
    tracer.ready, tracer.lost = [KILL, KILL], 3
    writer.pump()
    tracer.ready, tracer.lost = [KILL], 5
    writer.pump()
    tracer.ready = [KILL]
    writer.pump()

    assert [line.get("dropped_before") for line in outputs.lines] == [3, None, 2, None]


def test_a_loss_is_not_used_up_by_a_line_that_finds_no_room(tracer):
    outputs = FakeOutputs(room=0, reads=False)
    writer = writer_of(tracer, outputs)
    tracer.ready, tracer.lost = [KILL], 3
    writer.pump()
    outputs.room, outputs.reads = 9, True
    tracer.ready = [KILL]
    writer.pump()

    assert [line["dropped_before"] for line in outputs.lines] == [3]


def test_a_loss_is_announced_by_a_kill_and_not_used_up_by_an_oom_lost(tracer):
    outputs = FakeOutputs()
    tracer.ready, tracer.lost = [lost(), KILL], 3
    writer_of(tracer, outputs).pump()

    assert [line.get("dropped_before") for line in outputs.lines] == [None, 3]


def test_lost_signals_are_announced_once_by_the_next_line_that_finds_room(tracer):
    outputs = FakeOutputs(room=0, reads=False)
    writer = writer_of(tracer, outputs)
    (signal,) = sigkills(event())
    tracer.sigkills = FakeSigkills(lost=3)
    tracer.ready = [signal]
    writer.pump()
    outputs.room, outputs.reads = 9, True
    tracer.ready = [signal, signal]
    writer.pump()

    assert [line["sigkill"].get("dropped_before") for line in outputs.lines] == [3, None]


def test_while_nothing_leaves_the_queue_nothing_is_reconciled(tracer, clock):
    outputs = FakeOutputs(reads=False)
    writer = writer_of(tracer, outputs, clock=clock)
    tracer.ready = [KILL]
    writer.pump()
    tracer.missing, tracer.reconcile_at = [lost()], clock.monotonic
    writer.pump()
    assert tracer.missing
    assert writer.timeout_ms() is None

    outputs.reads = True
    writer.pump()
    assert not tracer.missing
    assert [line["event"] for line in outputs.lines] == ["oom_kill", "oom_lost"]


def test_kills_with_a_line_and_lost_kills_are_counted_once_the_output_has_taken_them(tracer):
    outputs = FakeOutputs(room=3, reads=False)
    writer = writer_of(tracer, outputs)

    writer.write([KILL, lost(3), KILL, KILL, lost(5)])

    assert (writer.kills, writer.lost, writer.dropped) == (2, 3, 2)


def test_it_reconciles_when_that_is_due_and_not_before(tracer, clock):
    writer = writer_of(tracer, FakeOutputs(), clock=clock)
    tracer.reconcile_at = clock.monotonic + 1
    writer.pump()
    assert tracer.final == []

    clock.monotonic += 1
    writer.pump()
    assert tracer.final == [False]


def test_a_reconciliation_settles_what_was_dropped(tracer, clock):
    outputs = FakeOutputs(room=0)
    writer = writer_of(tracer, outputs, clock=clock)
    tracer.ready = [KILL]
    writer.pump()
    assert writer.dropped == 1

    outputs.room, tracer.reconcile_at, tracer.missing = 9, clock.monotonic, [lost()]
    writer.pump()
    assert writer.dropped == 0
    assert [line["event"] for line in outputs.lines] == ["oom_lost"]


def test_at_the_end_all_that_waits_is_written_and_then_what_is_missing(tracer):
    outputs = FakeOutputs()
    tracer.ready, tracer.waiting, tracer.missing = [KILL], [KILL], [lost()]
    writer_of(tracer, outputs).finish()

    assert [line["event"] for line in outputs.lines] == ["oom_kill", "oom_kill", "oom_lost"]
    assert tracer.final == [True]
    assert outputs.drains == [DRAIN_S, DRAIN_S]


def test_the_final_check_settles_what_was_dropped(tracer):
    outputs = FakeOutputs(room=0)
    writer = writer_of(tracer, outputs)
    tracer.ready, tracer.missing = [KILL], [lost()]
    writer.pump()
    assert writer.dropped == 1
    outputs.room = 9

    writer.finish()

    assert writer.dropped == 0
    assert [line["event"] for line in outputs.lines] == ["oom_lost"]


class SlowOutputs(FakeOutputs):
    """Lines leave only while somebody waits for that."""

    def flush(self) -> None:
        pass

    def drain(self, seconds: float) -> None:
        super().flush()
        super().drain(seconds)


def test_at_the_end_the_checkpoint_follows_the_last_line_that_a_slow_reader_takes(tracer, tmp_path):
    outputs = SlowOutputs()
    tracer.ready, tracer.missing = [KILL], [lost()]
    with open_checkpoint(tmp_path / "state", pytest.fail) as store:
        writer_of(tracer, outputs, store).finish()

        assert len(outputs.written) == 2
        assert store.checkpoint == tracer.state
    assert sum(outputs.drains) <= 10, "systemd may kill a unit that takes longer"


def test_at_the_end_without_a_reader_nothing_more_is_looked_for(tracer):
    outputs = FakeOutputs(room=1, reads=False)
    tracer.ready, tracer.missing = [KILL, KILL], [lost()]
    writer = writer_of(tracer, outputs)
    writer.finish()

    assert writer.dropped == 1
    assert tracer.final == []


@pytest.mark.parametrize(
    ("due", "reconcile", "retry", "expected"),
    [
        (None, None, None, None),
        (None, None, 1000, 1000),
        (500 * MS, None, None, 500),
        (500 * MS, 200 * MS, 1000, 200),
        (500 * MS + 1, None, None, 501),
        (None, -3 * MS, None, 0),
    ],
)
def test_it_waits_for_whatever_is_due_first(tracer, clock, due, reconcile, retry, expected):
    outputs = FakeOutputs()
    outputs.retry = retry
    tracer.due = None if due is None else clock.monotonic + due
    tracer.reconcile_at = None if reconcile is None else clock.monotonic + reconcile

    assert writer_of(tracer, outputs, clock=clock).timeout_ms() == expected


def test_the_checkpoint_follows_what_has_left_the_queue(tracer, tmp_path):
    outputs = FakeOutputs(reads=False)
    file = tmp_path / "state" / FILE_NAME
    with open_checkpoint(tmp_path / "state", print) as store:
        tracer.ready = [KILL]
        writer = writer_of(tracer, outputs, store)
        writer.pump()
        assert not file.exists()
        outputs.reads = True
        writer.pump()
        assert parse(file.read_bytes()) == tracer.state
        tracer.state = None
        writer.pump()
    with open_checkpoint(tmp_path / "state", print) as store:
        assert store.checkpoint is not None
        assert store.checkpoint.oom_kill == 17


def test_the_checkpoint_is_written_only_when_its_position_changes(tracer, tmp_path):
    file = tmp_path / "state" / FILE_NAME
    with open_checkpoint(tmp_path / "state", print) as store:
        writer = writer_of(tracer, FakeOutputs(), store)
        writer.pump()
        before = file.stat().st_ino
        tracer.state = Checkpoint(BOOT_ID, 17, "2023-11-14T22:13:20.000000Z")
        writer.pump()
        assert file.stat().st_ino == before
        tracer.state = Checkpoint(BOOT_ID, 18, "2023-11-14T22:13:20.000000Z")
        writer.pump()
        assert file.stat().st_ino != before


def test_a_corrupt_checkpoint_is_reported_and_replaced(tracer, tmp_path):
    folder = tmp_path / "state"
    said: list[str] = []
    folder.mkdir(mode=0o700)
    (folder / FILE_NAME).write_bytes(b"oomtrace-state 1\nboot")
    with open_checkpoint(folder, said.append) as store:
        assert store.checkpoint is None
        writer_of(tracer, FakeOutputs(), store).pump()

    assert said == ["state file is corrupt; kills since the last run cannot be reported: see `oomtrace logs`"]
    assert parse((folder / FILE_NAME).read_bytes()) == tracer.state


def test_without_a_directory_no_checkpoint_is_kept(tracer):
    with open_checkpoint(None, print) as store:
        store.save(tracer.state)
        assert store.checkpoint is None


def test_a_directory_that_others_may_write_to_is_refused(tmp_path: Path):
    folder = tmp_path / "state"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(StateError, match="may be written by others"), open_checkpoint(folder, print):
        pass


def test_the_record_that_is_dropped_is_the_one_that_was_delivered(tracer):
    """The reconciler knows kills by their numbers, and a loss by its count."""
    outputs = FakeOutputs(room=0)
    loss = lost(3)
    tracer.ready = [loss]
    writer_of(tracer, outputs).pump()

    (dropped,) = tracer.dropped
    assert isinstance(dropped, OomLost)
    assert dropped.lost.count == 3
