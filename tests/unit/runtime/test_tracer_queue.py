# SPDX-License-Identifier: Apache-2.0
"""Kills that wait for their turn: how long others wait, what is dropped, and what waits for slow facts."""

from __future__ import annotations

import select
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.clock import FakeClock
from support.probe_events import HOST, kill

from ooMtrace import record
from ooMtrace.enrich import Enrichers, Later
from ooMtrace.reconcile.reconciler import Reconciler
from ooMtrace.record import OomKill, OomLost, Record
from ooMtrace.runtime.background import Background, Task
from ooMtrace.runtime.pipeline import DRAIN_NS, KILLS_PER_TURN, Tracer, size_of
from ooMtrace.runtime.slow_facts import HOLD_NS
from ooMtrace.sources.base import DeliveryLog

ATTACKER, BYSTANDER = 1000, 1001


class FakeSource:
    """Delivers what has arrived; `meanwhile` is called each time that it is asked."""

    def __init__(self) -> None:
        self.arrived: list[OomKill] = []
        self.meanwhile: Callable[[], None] = lambda: None
        self.asked = 0
        self.count = 0

    def arrive(self, uid: int, **facts: Any) -> OomKill:
        self.count += 1
        process = record.Process(pid=self.count, tid=self.count, user=record.User(id=uid), **facts)
        oom = record.Oom(incident="x", number=self.count)
        self.arrived.append(kill(id=f"{self.count}", process=process, oom=oom, cgroup=record.Cgroup(path=f"/{uid}")))
        return self.arrived[-1]

    def fds(self) -> list[int]:
        return []

    def next_due(self) -> int | None:
        return None

    def kills(self, delivery_log: DeliveryLog) -> Iterator[OomKill]:
        self.asked += 1
        self.meanwhile()
        arrived, self.arrived = self.arrived, []
        for one in arrived:
            assert one.oom.number is not None
            delivery_log.record_delivery(one.oom.number, one.process.tid)
            yield one

    drain = kills

    def cgroup_changes(self):
        return iter(())

    def kill_count(self) -> int:
        return self.count

    def lost_records(self) -> int:
        return 0

    def close(self) -> None:
        return


class LateBackground(Background):
    """A step that ends when the test says so."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__("late")
        self.clock = clock
        self.tasks: list[Task] = []

    def start(self, function: Callable[[], None]) -> Task | None:
        self.tasks.append(Task(function, lambda: None))
        return self.tasks[-1]

    def wait(self, timeout_ms: int) -> None:
        self.clock.advance(timeout_ms / 1000)


class SlowName:
    """Adds a message to the kills of the bystander, slowly."""

    def __init__(self) -> None:
        self.prepared = 0

    def prepare(self, one: OomKill) -> None:
        self.prepared += 1

    def add_known(self, one: OomKill) -> OomKill | None:
        return one if one.process.user != record.User(id=BYSTANDER) else None

    def look_up(self, one: OomKill) -> OomKill | Later:
        return replace(one, message="found")

    def skip(self, one: OomKill) -> OomKill:
        return replace(one, message="missing")


class Bench:
    def __init__(self, folder: Path) -> None:
        (folder / "vmstat").write_text("oom_kill 0\n")
        (folder / "kmsg").write_text("")
        self.vmstat = folder / "vmstat"
        self.clock = FakeClock()
        self.source = FakeSource()
        self.reconciler = Reconciler(
            self.source.kill_count, HOST, "reduced", proc=folder, kmsg=folder / "kmsg", clock=self.clock
        )
        self.background = LateBackground(self.clock)

    def tracer(self, enrichers: Enrichers = Enrichers(), **more: Any) -> Tracer:  # noqa: B008
        return Tracer(self.source, self.reconciler, enrichers, background=self.background, clock=self.clock, **more)

    def counted(self) -> None:
        self.vmstat.write_text(f"oom_kill {self.source.count}\n")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def uids(records: list[Record]) -> list[int | None]:
    return [one.process.user.id for one in records if isinstance(one, OomKill) and one.process.user]


def test_a_bystanders_line_does_not_wait_for_a_storm(bench):
    tracer = bench.tracer()
    for _ in range(1000):
        bench.source.arrive(ATTACKER)
    bench.source.arrive(BYSTANDER)

    assert BYSTANDER in uids(list(tracer.records()))[:4]


def test_what_arrives_while_a_line_is_written_is_taken_before_the_next_line(bench):
    tracer = bench.tracer()
    for _ in range(10):
        bench.source.arrive(ATTACKER)
    lines = tracer.records()
    next(lines)
    bench.source.arrive(BYSTANDER)

    assert BYSTANDER in uids([next(lines) for _ in range(3)])


def test_the_source_is_emptied_before_every_line(bench):
    tracer = bench.tracer()
    for _ in range(KILLS_PER_TURN):
        bench.source.arrive(ATTACKER)
    asked = [bench.source.asked for _ in tracer.records()]

    assert asked == list(range(1, KILLS_PER_TURN + 1))


def test_a_turn_ends_even_if_the_storm_does_not(bench):
    tracer = bench.tracer()
    bench.source.meanwhile = lambda: [bench.source.arrive(ATTACKER) for _ in range(3)] and None

    assert len(list(tracer.records())) == KILLS_PER_TURN
    assert tracer.next_due() == 0


def test_all_lines_come_out_in_the_end(bench):
    tracer, pids = bench.tracer(), []
    for number in range(100):
        bench.source.arrive(number % 3)
    while tracer.next_due() == 0 or bench.source.arrived:
        pids += [one.process.pid for one in tracer.records() if isinstance(one, OomKill)]

    assert sorted(pids) == list(range(1, 101))
    assert tracer.next_due() is None


def test_what_is_urgent_is_read_when_a_kill_is_delivered_and_not_when_its_turn_comes(bench):
    order: list[str] = []

    def noting(what: str):
        def enrich(one: OomKill) -> OomKill:
            order.append(what)
            return one

        return enrich

    slow = SlowName()
    tracer = bench.tracer(Enrichers(urgent=(noting("urgent"),), later=(noting("later"),), slow=(slow,)))
    for _ in range(3):
        bench.source.arrive(ATTACKER)
    next(tracer.records())

    assert order == ["urgent"] * 3 + ["later"]
    assert slow.prepared == 3


def test_what_does_not_fit_into_memory_is_dropped_counted_and_announced(bench):
    size = size_of(bench.source.arrive(ATTACKER))
    tracer = bench.tracer(queue_bytes=20 * size)
    bench.source.arrive(BYSTANDER)
    for _ in range(98):
        bench.source.arrive(ATTACKER)
    bench.counted()
    records = list(tracer.reconcile(final=True))

    lines = [one for one in records if isinstance(one, OomKill)]
    (lost,) = [one for one in records if isinstance(one, OomLost)]
    assert len(lines) == 20
    assert BYSTANDER in uids(records)
    assert lost.lost.count == tracer.lost_records() == 80


def test_slow_facts_of_what_is_dropped_are_not_kept(bench):
    skipped = []

    class Counting(SlowName):
        def skip(self, one: OomKill) -> OomKill:
            skipped.append(one.id)
            return one

    slow = Counting()
    size = size_of(bench.source.arrive(ATTACKER))
    tracer = bench.tracer(Enrichers(slow=(slow,)), queue_bytes=20 * size)
    for _ in range(99):
        bench.source.arrive(ATTACKER)
    written = {one.id for one in tracer.drain() if isinstance(one, OomKill)}

    assert (slow.prepared, len(written), len(skipped)) == (100, 20, 80)
    assert not written & set(skipped)


def test_large_kills_count_for_more(bench):
    small, large = bench.source.arrive(1), bench.source.arrive(1, command_args=("a",) * 2000)

    connected = bench.source.arrive(1, connections=(record.Connection(fd=3, transport="tcp"),) * 200)

    assert size_of(large) > 10 * size_of(small)
    assert size_of(connected) > 10 * size_of(small)


def test_a_line_that_waits_for_slow_facts_delays_no_other(bench):
    tracer = bench.tracer(Enrichers(slow=(SlowName(),)))
    bench.source.arrive(BYSTANDER)
    bench.source.arrive(ATTACKER)

    assert uids(list(tracer.records())) == [ATTACKER]
    assert tracer.checkpoint() is None
    bench.background.tasks[0].run()
    (line,) = tracer.records()
    assert isinstance(line, OomKill)
    assert (line.message, line.process.user) == ("found", record.User(id=BYSTANDER))
    assert tracer.checkpoint() is not None


def test_the_end_of_a_look_up_makes_a_file_of_the_tracer_readable(bench):
    bench.background = Background("tracer-test")
    tracer = bench.tracer(Enrichers(slow=(SlowName(),)))
    bench.source.arrive(BYSTANDER)
    assert list(tracer.records()) == []
    poll = select.poll()
    for fd in tracer.fds():
        poll.register(fd, select.POLLIN)

    assert poll.poll(60_000) != []
    assert uids(list(tracer.records())) == [BYSTANDER]
    tracer.close()


def test_a_line_whose_slow_facts_do_not_come_is_due_at_the_end_of_its_time(bench):
    tracer = bench.tracer(Enrichers(slow=(SlowName(),)))
    bench.source.arrive(BYSTANDER)
    began = bench.clock.monotonic
    assert list(tracer.records()) == []
    assert tracer.next_due() == began + HOLD_NS
    bench.clock.advance(HOLD_NS / 1e9)

    (line,) = tracer.records()
    assert isinstance(line, OomKill)
    assert line.message == "missing"
    assert "process.comm" in line.missing


def test_at_the_end_slow_facts_have_as_much_time_as_ever_and_no_more(bench):
    tracer = bench.tracer(Enrichers(slow=(SlowName(),)))
    bench.source.arrive(BYSTANDER)
    began = bench.clock.monotonic
    (line,) = tracer.drain()

    assert isinstance(line, OomKill)
    assert line.message == "missing"
    assert bench.clock.monotonic - began == HOLD_NS


def test_at_the_end_what_arrives_meanwhile_is_taken_for_a_limited_time(bench):
    tracer = bench.tracer()
    bench.source.arrive(ATTACKER)

    def go_on() -> None:
        bench.clock.advance(0.1)
        bench.source.arrive(ATTACKER)

    bench.source.meanwhile = go_on
    lines = list(tracer.drain())

    assert DRAIN_NS / 1e8 <= len(lines) <= DRAIN_NS / 1e8 + 5


def test_kills_that_wait_are_not_missing_at_a_check(bench):
    tracer = bench.tracer()
    for _ in range(5 * KILLS_PER_TURN):
        bench.source.arrive(ATTACKER)
    bench.counted()

    assert {one.event for one in tracer.reconcile()} == {"oom_kill"}
    assert tracer.checkpoint() is None
