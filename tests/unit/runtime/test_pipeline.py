# SPDX-License-Identifier: Apache-2.0
"""The data's way through the tracer: who is asked, in which order, and what is added to each record."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.clock import FakeClock
from support.probe_events import HOST, kill, lost

from ooMtrace import record
from ooMtrace.enrich import Enrichers
from ooMtrace.kernel.cgroup_change import CgroupChange
from ooMtrace.reconcile.reconciler import CounterReading, Reconciler
from ooMtrace.record import OomKill, Record
from ooMtrace.runtime.pipeline import Tracer
from ooMtrace.sources.base import DeliveryLog


class FakeSource:
    """Delivers what a test has put into it, and notes what it is asked."""

    def __init__(self) -> None:
        self.ready: list[OomKill] = []
        self.waiting: list[OomKill] = []
        self.count = 0
        self.lost = 0
        self.due: int | None = None
        self.closed = False
        self.changes: list[CgroupChange] = []
        self.asked: list[str] = []

    def fds(self) -> list[int]:
        return [7]

    def next_due(self) -> int | None:
        return self.due

    def kills(self, delivery_log: DeliveryLog) -> Iterator[OomKill]:
        self.asked.append("kills")
        for one in self.ready:
            delivery_log.record_delivery(self.count, one.process.tid)
            yield one
        self.ready = []

    def drain(self, delivery_log: DeliveryLog) -> Iterator[OomKill]:
        self.asked.append("drain")
        self.ready += self.waiting
        self.waiting = []
        return self.kills(delivery_log)

    def cgroup_changes(self) -> Iterator[CgroupChange]:
        self.asked.append("cgroup_changes")
        changes, self.changes = self.changes, []
        yield from changes

    def kill_count(self) -> int:
        self.asked.append("kill_count")
        return self.count

    def lost_records(self) -> int:
        return self.lost

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def source() -> FakeSource:
    return FakeSource()


def named(name: str):
    return lambda one: replace(one, message=f"{one.message}{name}")


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    """A /proc whose vmstat counts 10 kills, and an empty kernel log."""
    (tmp_path / "vmstat").write_text("oom_kill 10\n")
    (tmp_path / "kmsg").write_text("")
    return tmp_path


@pytest.fixture
def tracer(source: FakeSource, kernel: Path) -> Tracer:
    reconciler = Reconciler(source.kill_count, HOST, "reduced", proc=kernel, kmsg=kernel / "kmsg", clock=FakeClock())
    source.asked.clear()
    enrichers = Enrichers(later=(named("1"), named("2")))
    return Tracer(source, reconciler, enrichers, [named("3")])


def test_what_is_delivered_is_enriched_in_order(source, tracer):
    source.ready = [kill(message="x"), kill(message="y")]

    assert [one.message for one in tracer.records()] == ["x12", "y12"]


def test_facts_that_are_missing_are_named_after_enrichment_with_those_that_an_enricher_missed(source, kernel):
    reconciler = Reconciler(source.kill_count, HOST, "full", proc=kernel, kmsg=kernel / "kmsg", clock=FakeClock())

    def enrich(one: OomKill) -> OomKill:
        return replace(one, missing=("job",), process=replace(one.process, working_directory="/"))

    source.ready = [kill(process=record.Process(pid=1, tid=1))]
    (one,) = Tracer(source, reconciler, Enrichers(later=(enrich,))).records()

    assert isinstance(one, OomKill)
    assert "process.working_directory" not in one.missing
    assert "process.comm" in one.missing
    assert one.missing[-1] == "job"


def test_drain_takes_what_still_waits(source, tracer):
    source.ready, source.waiting = [kill(message="x")], [kill(message="y")]

    assert [one.message for one in tracer.drain()] == ["x12", "y12"]


def test_a_check_reads_the_counters_before_it_takes_what_was_delivered_and_compares_after(source, kernel):
    """A kill that is counted after the reading may be delivered by then: it is not missing, and not counted twice."""
    order: list[object] = []

    class Watched(Reconciler):
        def read_counters(self) -> CounterReading | None:
            order.append(("read", list(source.asked)))
            return CounterReading(10, 0, steady=True)

        def reconcile(
            self, reading: CounterReading | None, receive: Callable[[], object], *, final: bool = False
        ) -> Iterator[Record]:
            order.append((reading, final, source.asked[-1]))
            yield lost()

    reconciler = Watched(lambda: 0, HOST, "reduced", proc=kernel, kmsg=kernel / "kmsg", clock=FakeClock())
    order.clear()
    source.asked.clear()
    source.ready = [kill(message="x")]
    found = list(Tracer(source, reconciler).reconcile())

    assert order == [("read", []), (CounterReading(10, 0, steady=True), False, "kills")]
    assert [one.event for one in found] == ["oom_kill", "oom_lost"]


def test_the_final_check_drains_the_source_first(source, tracer):
    source.ready, source.waiting = [kill(message="x")], [kill(message="y")]

    assert [one.message for one in tracer.reconcile(final=True)] == ["x12", "y12"]


def test_a_kill_that_comes_while_the_final_check_goes_on_has_its_line(source, kernel):
    class Slow(Reconciler):
        def reconcile(
            self, reading: CounterReading | None, receive: Callable[[], object], *, final: bool = False
        ) -> Iterator[Record]:
            source.ready = [kill(message="late")]
            receive()
            yield lost()

    reconciler = Slow(lambda: 0, HOST, "reduced", proc=kernel, kmsg=kernel / "kmsg", clock=FakeClock())

    found = list(Tracer(source, reconciler).reconcile(final=True))

    assert [one.message for one in found] == [lost().message, "late"]


def test_a_kill_that_the_source_missed_is_announced_by_the_final_check(source, tracer, kernel):
    (kernel / "vmstat").write_text("oom_kill 12\n")
    source.ready, source.count = [kill(message="x", process=record.Process(pid=1, tid=1))], 1
    found = list(tracer.reconcile(final=True))

    assert [one.event for one in found] == ["oom_kill", "oom_lost"]
    assert isinstance(found[1], record.OomLost)
    assert found[1].lost.count == 1


def test_a_dropped_record_is_missing_at_the_next_check(source, tracer, kernel):
    (kernel / "vmstat").write_text("oom_kill 11\n")
    source.count = 1
    one = kill(oom=record.Oom(incident="x", number=11), process=record.Process(pid=1, tid=None))
    source.ready = [one]
    assert len(list(tracer.records())) == 1
    tracer.mark_dropped(one)

    (found,) = tracer.reconcile(final=True)
    assert isinstance(found, record.OomLost)
    assert found.lost.count == 1


def test_backfilled_kills_have_their_own_enrichers(source, kernel):
    class Backfilling(Reconciler):
        def reconcile(
            self, reading: CounterReading | None, receive: Callable[[], object], *, final: bool = False
        ) -> Iterator[Record]:
            yield kill(message="b")
            yield lost()

        def catch_up(self, receive: Callable[[], object]) -> Iterator[Record]:
            yield kill(message="c")

    reconciler = Backfilling(lambda: 0, HOST, "reduced", proc=kernel, kmsg=kernel / "kmsg", clock=FakeClock())
    tracer = Tracer(source, reconciler, Enrichers(later=(named("1"),)), [named("3")])

    assert [one.message for one in tracer.reconcile()] == ["b3", lost().message]
    assert [one.message for one in tracer.catch_up()] == ["c3"]


def test_what_arrives_while_kills_are_backfilled_is_taken_from_the_source(source, kernel):
    class Backfilling(Reconciler):
        def catch_up(self, receive: Callable[[], object]) -> Iterator[Record]:
            yield kill(message="a")
            yield kill(message="b")

    reconciler = Backfilling(lambda: 0, HOST, "reduced", proc=kernel, kmsg=kernel / "kmsg", clock=FakeClock())
    tracer = Tracer(source, reconciler)

    assert [len(source.asked) for _ in tracer.catch_up()] == [0, 1]
    assert source.asked == ["kills", "kills"]


def test_an_oom_without_a_kill_has_its_turn_and_is_not_enriched(source, tracer, monkeypatch):
    oom = record.Oom(incident="x", reason="panic")
    without_kill = record.OomNoKill(id="1", observed="2026-11-24T04:00:00.000000Z", message="m", host=HOST, oom=oom)
    delivered = iter([without_kill])
    monkeypatch.setattr(source, "kills", lambda _: delivered)

    assert list(tracer.records()) == [without_kill]


def test_losses_are_the_sources_and_are_not_used_up_by_asking(source, tracer):
    source.lost = 3

    assert [tracer.lost_records(), tracer.lost_records()] == [3, 3]


def test_a_check_is_due_a_second_after_something_died(source, tracer):
    assert tracer.reconcile_due() is None
    source.ready = [kill()]
    list(tracer.records())

    assert tracer.reconcile_due() == 6_001_000_000  # the clock went on by 1 ms between the first two readings


def test_there_is_a_checkpoint_only_while_no_kill_waits(source, tracer):
    checkpoint = tracer.checkpoint()
    assert checkpoint is not None
    assert checkpoint.oom_kill == 10

    source.due = 5
    assert tracer.next_due() == 5
    assert tracer.checkpoint() is None


def test_closing_it_closes_the_source(source, tracer):
    assert tracer.fds() == [7]
    tracer.close()

    assert source.closed


class FakeWatcher:
    def __init__(self) -> None:
        self.seen: list[object] = []
        self.due: int | None = None

    def observe(self, change: CgroupChange) -> None:
        self.seen.append(change.path)

    def next_due(self) -> int | None:
        return self.due

    def look_again(self) -> None:
        self.seen.append("again")


@pytest.mark.parametrize("how", ["records", "drain"])
def test_changes_of_cgroups_are_reported_after_the_kills_were_received_and_before_they_are_enriched(
    source, kernel, how
):
    reconciler = Reconciler(source.kill_count, HOST, "reduced", proc=kernel, kmsg=kernel / "kmsg", clock=FakeClock())
    watcher = FakeWatcher()

    def enrich(one: OomKill) -> OomKill:
        watcher.seen.append(one.message)
        return one

    tracer = Tracer(source, reconciler, Enrichers(later=(enrich,), watcher=watcher))
    source.changes = [CgroupChange(1, "/a", removed=False), CgroupChange(2, "/b", removed=True)]
    source.ready = [kill(message="killed")]
    source.asked.clear()

    assert len(list(getattr(tracer, how)())) == 1
    assert watcher.seen[:4] == ["/a", "/b", "again", "killed"]
    assert source.asked[source.asked.index("cgroup_changes") - 1] == "kills"


def test_the_tracer_is_due_when_its_watcher_or_its_source_is(source, kernel):
    reconciler = Reconciler(source.kill_count, HOST, "reduced", proc=kernel, kmsg=kernel / "kmsg", clock=FakeClock())
    watcher = FakeWatcher()
    tracer = Tracer(source, reconciler, Enrichers(watcher=watcher))
    assert tracer.next_due() is None

    watcher.due = 5
    assert tracer.next_due() == 5
    source.due = 3
    assert tracer.next_due() == 3


def test_a_name_that_is_looked_for_again_does_not_prevent_a_checkpoint(source, kernel):
    reconciler = Reconciler(source.kill_count, HOST, "reduced", proc=kernel, kmsg=kernel / "kmsg", clock=FakeClock())
    watcher = FakeWatcher()
    tracer = Tracer(source, reconciler, Enrichers(watcher=watcher))
    without = tracer.checkpoint()
    watcher.due = 5

    assert (tracer.checkpoint() is None) == (without is None)
