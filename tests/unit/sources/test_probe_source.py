# SPDX-License-Identifier: Apache-2.0
"""The probes as a source: what is read, in which order it is assembled, what is counted and what is lost."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from support.probe_events import HOST, NOW, SYMBOLS, context, victim_event

from ooMtrace.assemble.assembler import Assembler
from ooMtrace.errors import DecodeError
from ooMtrace.events import Kind, ProbeEvent, RepeatKill, VictimEvent
from ooMtrace.kernel.cgroup_change import CgroupChange
from ooMtrace.sources import probe_source
from ooMtrace.sources.probe_source import ProbeSource

MS = 1_000_000


class FakeProbe:
    """Perf buffers: each read gives the next of these batches."""

    def __init__(self) -> None:
        self.batches: list[list[bytes]] = []
        self.cgroups: list[bytes] = []
        self.reads = 0
        self.kills = 0
        self.lost = 0
        self.closed = False

    def fds(self) -> list[int]:
        return [3, 4]

    def read(self, buffer: str = "events") -> list[bytes]:
        if buffer == "cgroup_changes":
            return self.cgroups
        self.reads += 1
        return self.batches.pop(0) if self.batches else []

    def kill_count(self) -> int:
        return self.kills

    def lost_records(self) -> int:
        return self.lost

    def close(self) -> None:
        self.closed = True


class DeliveryLog:
    def __init__(self, base: int | None = 40) -> None:
        self.base = base
        self.noted: list[tuple[int, int | None]] = []

    def record_delivery(self, nth: int, tid: int | None) -> None:
        self.noted.append((nth, tid))


class Bench:
    """A source whose records are the places of events in a list."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.probe = FakeProbe()
        self.said: list[str] = []
        self.log = DeliveryLog()
        self.events: list[ProbeEvent] = []
        self.monotonic = NOW.monotonic
        self.reads_at_snapshot: list[int] = []
        assembler = Assembler(HOST, SYMBOLS, "reduced", lifecycle=True)
        self.source = ProbeSource(self.probe, assembler, self.said.append, self.snapshot)  # type: ignore[arg-type]
        monkeypatch.setattr(probe_source, "decode", self.decode)

    def snapshot(self) -> Any:
        self.reads_at_snapshot.append(self.probe.reads)
        return replace(NOW, monotonic=self.monotonic)

    def decode(self, raw: bytes) -> ProbeEvent:
        (place,) = struct.unpack("i", raw)
        if place < 0:
            raise DecodeError("a record of 4 bytes is none of ours")
        return self.events[place]

    def arrive(self, *batches: list[ProbeEvent | None]) -> None:
        for batch in batches:
            raw = []
            for event in batch:
                raw.append(struct.pack("i", -1 if event is None else len(self.events)))
                if event is not None:
                    self.events.append(event)
            self.probe.batches.append(raw)

    def kills(self) -> list[tuple[int | None, int | None]]:
        return [(one.process.pid, one.oom.number) for one in self.source.kills(self.log)]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch)


def killed(pid: int, ordinal: int | None, ktime: int, **changes: Any) -> VictimEvent:
    return victim_event(pid, ktime=ktime, ordinal=ordinal, **changes)


def test_a_kill_is_noted_and_has_the_kernels_ordinal(bench):
    bench.arrive([killed(100, 2, 10)])

    assert bench.kills() == [(100, 42)]
    assert bench.log.noted == [(2, 100)]


def test_a_kill_is_noted_by_its_thread_as_the_kernel_log_names_it(bench):
    event = killed(100, 2, 10)
    task = replace(event.victim.task, tid=105)
    bench.arrive([replace(event, victim=replace(event.victim, task=task))])

    assert bench.kills() == [(100, 42)]
    assert bench.log.noted == [(2, 105)]


def test_where_the_kernel_does_not_count_a_kill_has_no_ordinal(bench):
    bench.log.base = None
    bench.arrive([killed(100, 2, 10)])

    assert bench.kills() == [(100, None)]


def test_a_process_that_only_shared_memory_is_not_counted(bench):
    bench.arrive([killed(100, 1, 10), killed(200, None, 11, kind=Kind.SHARER)])
    bench.monotonic += 1000 * MS
    list(bench.source.kills(bench.log))

    assert bench.log.noted == [(1, 100)]


def test_a_process_that_was_already_dying_is_not_counted(bench):
    bench.arrive([killed(100, 1, 10, kind=Kind.DYING)])

    assert bench.kills() == []
    assert bench.log.noted == []


def test_a_repeat_kill_is_counted_and_has_no_line(bench):
    bench.arrive([killed(100, 1, 10), RepeatKill(11, 100, 2)])

    assert bench.kills() == [(100, 41)]
    assert bench.log.noted == [(1, 100), (2, None)]


def test_events_of_all_cpus_are_taken_in_the_kernels_order(bench):
    bench.arrive([killed(300, 3, 30), killed(100, 1, 10)], [killed(200, 2, 20)])

    assert bench.kills() == [(100, 41), (200, 42), (300, 43)]


def test_after_something_arrived_the_buffers_are_read_once_more(bench):
    """What was written to one CPU's buffer before may have been passed over while another was read."""
    bench.arrive([killed(200, 2, 20)], [killed(100, 1, 10)])

    assert bench.kills() == [(100, 41), (200, 42)]
    assert bench.probe.reads == 2


def test_without_records_the_buffers_are_read_once(bench):
    assert bench.kills() == []
    assert bench.probe.reads == 1


def test_the_time_of_observation_is_after_the_last_read(bench):
    bench.arrive([killed(100, 1, 10)])
    bench.kills()

    assert bench.reads_at_snapshot == [2]


def test_a_record_that_cannot_be_decoded_is_lost_and_the_others_are_not(bench):
    bench.arrive([killed(100, 1, 10), None, killed(200, 2, 20)])

    assert bench.kills() == [(100, 41), (200, 42)]
    assert bench.said == ["a record of 4 bytes is none of ours"]
    bench.probe.lost = 3
    assert bench.source.lost_records() == 4
    assert bench.source.lost_records() == 4


def test_a_kill_waits_for_its_context_and_the_time_it_waits_is_due(bench):
    bench.arrive([killed(100, 1, 10, signalled_at=9)])

    assert bench.kills() == []
    assert bench.log.noted == [(1, 100)]
    due = bench.source.next_due()
    assert due == NOW.monotonic + 250 * MS
    bench.monotonic = due - 1
    assert bench.kills() == []
    bench.monotonic = due
    assert bench.kills() == [(100, 41)]
    assert bench.source.next_due() is None


def test_a_context_completes_its_kill(bench):
    bench.arrive([killed(100, 1, 10, signalled_at=9), context(100, 9)])

    assert bench.kills() == [(100, 41)]


def test_drain_waits_for_nothing(bench):
    bench.arrive([killed(100, 1, 10, signalled_at=9)])

    assert [one.process.pid for one in bench.source.drain(bench.log)] == [100]
    assert bench.source.next_due() is None


def test_the_rest_is_the_probes(bench):
    bench.probe.kills = 5

    assert bench.source.fds() == [3, 4]
    assert bench.source.kill_count() == 5
    bench.source.close()
    assert bench.probe.closed


def test_kills_are_delivered_as_they_are_read_not_when_all_are_done(bench):
    """A kill that is dropped by the output must be noted before it can be marked as dropped."""
    bench.arrive([killed(100, 1, 10), killed(200, 2, 20)])
    kills: Iterator[Any] = bench.source.kills(bench.log)

    assert next(kills).process.pid == 100
    assert bench.log.noted == [(1, 100)]


def test_changes_of_cgroups_are_in_the_order_of_time_and_what_cannot_be_decoded_is_no_lost_kill(bench):
    def change(kind: int, ktime: int) -> bytes:
        return struct.pack("=3q", kind, ktime, 2) + b"/a"

    bench.probe.cgroups = [change(2, 9), b"?", change(1, 3)]

    assert list(bench.source.cgroup_changes()) == [CgroupChange(3, "/a", False), CgroupChange(9, "/a", True)]
    assert (bench.source.lost_records(), bench.said, bench.probe.reads) == (0, [], 0)
