# SPDX-License-Identifier: Apache-2.0
"""The reconciler against a kernel that counts, a source that delivers less, and a log that still has some of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from support.clock import FakeClock
from support.probe_events import BOOT_ID, HOST, kill, lost

from ooMtrace import record
from ooMtrace.kernel.snapshot import rfc3339
from ooMtrace.kmsg import boot_log
from ooMtrace.kmsg.boot_log import read_boot_log
from ooMtrace.reconcile.checkpoint import Checkpoint
from ooMtrace.reconcile.reconciler import CounterReading, Reconciler

KILLED = (
    "3,{seq},{us},-;Memory cgroup out of memory: Killed process {tid} (worker) total-vm:100kB, anon-rss:40kB, "
    "file-rss:4kB, shmem-rss:0kB, UID:1000 pgtables:64kB oom_score_adj:0\n"
)


class Host:
    """A machine: what it counts, what its log has, and what the source has delivered of it."""

    def __init__(self, folder: Path, counted: int = 10) -> None:
        self.proc, self.kmsg = folder, folder / "kmsg"
        self.seen = 0
        self.clock = FakeClock()
        self.log: list[str] = []
        self.count(counted)

    def count(self, kills: int) -> None:
        self.counted = kills
        (self.proc / "vmstat").write_text(f"nr_free_pages 1\noom_kill {kills}\npgfault 3\n")

    def die(self, *tids: int, seen: bool = True) -> None:
        """Count these kills and log them; the source counts those that it has seen."""
        self.count(self.counted + len(tids))
        self.seen += len(tids) if seen else 0
        for tid in tids:
            # further apart than members of a group may be
            self.log.append(KILLED.format(seq=len(self.log), us=100_000_000 * (len(self.log) + 1), tid=tid))
        self.kmsg.write_text("".join(self.log))

    def reconciler(self, since: Checkpoint | None = None) -> Reconciler:
        return Reconciler(lambda: self.seen, HOST, "reduced", since, proc=self.proc, kmsg=self.kmsg, clock=self.clock)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def nothing() -> None:
    """Receive from a source that has delivered no more."""


def reconcile(reconciler: Reconciler, *, times: int = 2, final: bool = False) -> list[record.Record]:
    """Check as often as it takes to see a pause between kills."""
    found: list[record.Record] = []
    for _ in range(times):
        reading = reconciler.read_counters()
        assert reading
        assert reading.steady
        found += reconciler.reconcile(reading, nothing, final=final)
    return found


def settled(host: Host) -> Reconciler:
    """Return a reconciler that has closed its ledger after two kills, which were delivered."""
    reconciler = host.reconciler()
    host.die(101, 102)
    reconciler.record_delivery(1, 101)
    reconciler.record_delivery(2, 102)
    assert reconcile(reconciler) == []
    return reconciler


def summary(records: Iterable[record.Record]) -> list[object]:
    """Return ordinals, threads and levels of kills, and the counts of losses."""
    return [
        one.lost.count if isinstance(one, record.OomLost) else (one.oom.number, one.process.tid, one.fidelity)
        for one in records
    ]


def test_when_all_kills_were_delivered_nothing_is_reported_and_nothing_is_due(host):
    reconciler = host.reconciler()
    host.die(101, 102)
    reconciler.record_delivery(1, 101)
    reconciler.record_delivery(2, 102)

    assert reconciler.next_due() is not None
    assert reconcile(reconciler) == []
    assert reconciler.next_due() is None


def test_a_kill_that_the_kernel_counted_and_has_not_signalled_yet_is_not_missing(host):
    reconciler = host.reconciler()
    host.die(101, seen=False)

    def kill_count() -> int:
        """Count the kill when the OOM killer, which was preempted, has run again."""
        return host.seen + (len(host.clock.sleeps) > before + 10)

    before = len(host.clock.sleeps)
    reconciler._kill_count = kill_count
    reading = reconciler.read_counters()

    assert reading == CounterReading(11, 1, steady=True)
    reconciler.record_delivery(1, 101)
    assert list(reconciler.reconcile(reading, nothing)) == []
    assert reconciler.base == 10


@pytest.mark.parametrize("others", [0, 1], ids=["alone", "after one that was missed"])
@pytest.mark.parametrize("checks_before", [0, 1])
@pytest.mark.parametrize("counted", [False, True], ids=["counted by the kernel alone", "signalled, not marked"])
def test_a_kill_that_is_marked_while_the_log_is_read_is_not_backfilled(
    host, monkeypatch, others, checks_before, counted
):
    """The kernel has counted it before the reading; its mark, which the source delivers, and its line follow later."""
    reconciler = host.reconciler()
    host.die(*range(101, 101 + others), seen=False)
    host.die(200, seen=counted)
    delivered: list[int] = []

    def marked(*arguments: object, **more: object) -> object:
        host.seen = 1
        delivered.append(200)
        monkeypatch.undo()
        return read_boot_log(*arguments, **more)  # type: ignore[arg-type]

    def receive() -> None:
        while delivered:
            reconciler.record_delivery(1, delivered.pop())

    if checks_before:  # a pause between kills: what is missing would be lost
        reconciler._last_kernel_count = host.counted
    reading = reconciler.read_counters()
    monkeypatch.setattr(boot_log, "read_boot_log", marked)
    found = list(reconciler.reconcile(reading, receive))

    assert summary(found) == [(11, 101, "log")][:others]
    assert reconciler.base == 10 + others
    assert reconcile(reconciler) == []


def test_a_kill_that_the_source_counts_and_never_delivers_is_backfilled(host, monkeypatch):
    reconciler = host.reconciler()
    host.die(200, seen=False)

    def signalled(*arguments: object, **more: object) -> object:
        host.seen += 1
        monkeypatch.undo()
        return read_boot_log(*arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(boot_log, "read_boot_log", signalled)
    assert summary(reconcile(reconciler, times=1)) == [(11, 200, "log")]
    assert reconcile(reconciler) == []


def test_a_kill_that_was_missed_is_backfilled_though_an_earlier_one_had_the_same_thread_id(host):
    reconciler = host.reconciler()
    host.die(101)
    reconciler.record_delivery(1, 101)
    host.die(101, seen=False)

    assert summary(reconcile(reconciler)) == [(12, 101, "log")]


@pytest.mark.parametrize("final", [False, True])
def test_a_kill_that_is_counted_and_not_printed_yet_does_not_shift_the_numbers_of_the_log(host, final):
    reconciler = settled(host)
    host.count(host.counted + 1)  # the OOM killer is interrupted before its signal, its mark and its message

    reading = CounterReading(13, 2, steady=True)
    found = summary(reconciler.reconcile(reading, nothing, final=final))
    assert found == ([1] if final else [])

    host.count(host.counted - 1)
    host.die(103)
    reconciler.record_delivery(3, 103)
    assert reconcile(reconciler) == []


@pytest.mark.parametrize("not_printed", [0, 1])
def test_a_missed_kill_has_its_number_whether_or_not_another_is_counted_and_not_printed(host, not_printed):
    reconciler = settled(host)
    host.die(103, seen=False)
    host.count(host.counted + not_printed)

    reading = CounterReading(host.counted, 2, steady=True)

    assert summary(reconciler.reconcile(reading, nothing)) == [(13, 103, "log")]


def test_a_log_of_all_kills_since_the_start_that_lacks_a_delivered_one_is_not_believed(host):
    reconciler = host.reconciler()
    host.die(101, seen=False)
    host.die(102)
    reconciler.record_delivery(1, 999)

    assert summary(reconcile(reconciler)) == [1]


def test_nothing_is_due_while_nothing_dies(host):
    assert host.reconciler().next_due() is None


def test_a_kill_that_was_not_delivered_is_backfilled_from_the_kernel_log(host):
    reconciler = host.reconciler()
    host.die(101, 102, 103, 104)
    reconciler.record_delivery(1, 101)
    reconciler.record_delivery(4, 104)

    found = reconcile(reconciler)

    assert summary(found) == [(12, 102, "log"), (13, 103, "log")]
    assert [one.id for one in found] == ["12345678-12-102", "12345678-13-103"]
    assert reconcile(reconciler) == []


def test_kills_that_the_log_does_not_have_either_are_reported_as_lost(host):
    reconciler = host.reconciler()
    host.die(101, 102, 103)
    host.log.clear()
    host.kmsg.write_text("")

    (line,) = reconcile(reconciler)

    assert isinstance(line, record.OomLost)
    assert line.lost.count == 3
    assert line.lost.from_ < line.lost.to
    assert line.fidelity == "reduced"
    assert line.message.startswith("3 kills of the kernel's OOM killer between ")
    assert reconcile(reconciler) == []


def test_a_log_that_has_some_of_the_missing_kills_leaves_the_others_lost(host):
    reconciler = host.reconciler()
    host.die(101, 102, 103)
    del host.log[:2]
    host.kmsg.write_text("".join(host.log))

    assert summary(reconcile(reconciler)) == [(13, 103, "log"), 2]


def test_without_a_readable_log_all_missing_kills_are_lost(host):
    reconciler = host.reconciler()
    host.die(101, 102)
    host.kmsg.unlink()

    assert summary(reconcile(reconciler)) == [2]


def test_the_kernel_log_is_searched_at_the_first_check_because_it_is_overwritten(host):
    reconciler = host.reconciler()
    host.die(101)
    assert summary(reconcile(reconciler, times=1)) == [(11, 101, "log")]
    host.log.clear()
    host.die(102)
    reconciler.record_delivery(2, 102)

    assert reconcile(reconciler) == []


def test_a_loss_waits_for_a_pause_between_kills_but_not_for_ever(host):
    reconciler = host.reconciler()
    host.kmsg.write_text("")
    found = []
    for count in range(11, 90):
        host.count(count)
        host.seen += 1
        found += reconcile(reconciler, times=1)
        if found:
            break

    assert 70 < count < 75
    assert summary(found) == [count - 10]


def test_a_backfilled_kill_that_is_dropped_is_pending_again(host):
    reconciler = host.reconciler()
    host.die(101, 102)
    for line in reconcile(reconciler):
        reconciler.mark_dropped(line)

    assert summary(reconcile(reconciler)) == [2]


def test_the_final_check_does_not_wait_for_a_pause(host):
    reconciler = host.reconciler()
    host.die(101)

    assert summary(reconcile(reconciler, times=1, final=True)) == [(11, 101, "log")]


def test_the_final_check_reports_at_once_what_the_log_does_not_have(host):
    reconciler = host.reconciler()
    host.die(101, 102)
    host.kmsg.write_text("")

    assert summary(reconcile(reconciler, times=1, final=True)) == [2]


def test_kills_between_attaching_and_the_first_reading_are_the_sources(host):
    host.die(101, 102)
    reconciler = host.reconciler()
    assert reconciler.base == 10

    reconciler.record_delivery(1, 101)
    assert summary(reconcile(reconciler)) == [(12, 102, "log")]


def test_kills_that_the_probes_missed_do_not_shift_the_ordinals_of_later_ones(host):
    reconciler = host.reconciler()
    host.die(101, seen=False)
    host.die(102)
    reconciler.record_delivery(1, 102)

    assert summary(reconcile(reconciler)) == [(11, 101, "log")]
    host.die(103)
    reconciler.record_delivery(2, 103)
    left = reconciler.checkpoint()
    assert left is not None
    assert left.oom_kill == 13
    assert reconcile(reconciler) == []


def test_the_repeat_kill_of_a_groups_first_victim_is_not_lost(host):
    reconciler = host.reconciler()
    host.die(101, 102)
    group = "Tasks in /job are going to be killed due to memory.oom.group set"
    again = "".join(host.log[:1]).replace(";", f";{group}\n6,2,100000001,-;", 1).replace("3,0,", "6,1,", 1)
    host.kmsg.write_text("".join(host.log[:1]) + again + host.log[1].replace("200000000", "100000002"))
    host.count(13)
    host.seen += 1
    reconciler.record_delivery(1, 101)

    assert summary(reconcile(reconciler)) == [(13, 102, "log")]


def test_a_dropped_line_is_backfilled(host):
    reconciler = host.reconciler()
    host.die(101, 102)
    reconciler.record_delivery(1, 101)
    reconciler.record_delivery(2, 102)
    dropped = kill(oom=record.Oom(incident="x", number=12))
    reconciler.mark_dropped(dropped)

    assert summary(reconcile(reconciler)) == [(12, 102, "log")]


def test_a_loss_that_was_dropped_is_reported_again(host):
    reconciler = host.reconciler()
    reconciler.mark_dropped(lost(3))

    assert reconciler.next_due() is not None
    assert summary(reconcile(reconciler)) == [3]


def test_dropped_records_that_are_not_counted_kills_are_not_missing(host):
    reconciler = host.reconciler()
    reconciler.mark_dropped(kill(event="oom_exit", oom=record.Oom(incident="x", number=11)))
    reconciler.mark_dropped(kill(oom=record.Oom(incident="x", verdict="shared_mm")))

    assert reconcile(reconciler) == []


def since(host: Host, number: int, boot_id: str = BOOT_ID) -> Checkpoint:
    return Checkpoint(boot_id, number, "2023-11-14T22:13:19.000000Z")


def test_kills_since_the_checkpoint_are_caught_up_with_once(host):
    host.die(101, 102, 103, seen=False)
    reconciler = host.reconciler(since(host, 11))

    assert summary(reconciler.catch_up(nothing)) == [(12, 102, "log"), (13, 103, "log")]
    assert list(reconciler.catch_up(nothing)) == []
    left = reconciler.checkpoint()
    assert left is not None
    assert (left.boot_id, left.oom_kill) == (BOOT_ID, 13)
    assert reconcile(reconciler) == []


def test_kills_since_the_checkpoint_that_the_log_has_lost_are_reported_as_lost(host):
    host.count(13)
    (line,) = host.reconciler(since(host, 11)).catch_up(nothing)

    assert isinstance(line, record.OomLost)
    assert line.lost.count == 2
    assert line.lost.from_ == "2023-11-14T22:13:19.000000Z"


def test_without_a_checkpoint_there_is_nothing_to_catch_up_with(host):
    host.die(101, seen=False)

    assert list(host.reconciler().catch_up(nothing)) == []


def test_a_checkpoint_of_another_boot_means_all_kills_of_this_one(host):
    host.count(0)
    host.die(101, 102, seen=False)

    assert summary(host.reconciler(since(host, 4711, "another")).catch_up(nothing)) == [
        (1, 101, "log"),
        (2, 102, "log"),
    ]


def test_a_checkpoint_beyond_the_kernels_count_is_ignored(host):
    host.die(101, seen=False)
    reconciler = host.reconciler(since(host, 4711))

    assert list(reconciler.catch_up(nothing)) == []
    host.die(102)
    assert summary(reconcile(reconciler)) == [(12, 102, "log")]


def test_on_a_kernel_that_does_not_count_nothing_is_reconciled(tmp_path):
    (tmp_path / "vmstat").write_text("nr_free_pages 1\n")
    reconciler = Reconciler(lambda: 0, HOST, "log", proc=tmp_path, kmsg=tmp_path / "kmsg")

    assert reconciler.base is None
    assert reconciler.read_counters() is None
    reconciler.record_delivery(1, 101)
    assert reconciler.next_due() is None
    assert reconciler.checkpoint() is None
    assert list(reconciler.catch_up(nothing)) == []


def test_a_check_is_due_one_second_after_the_first_delivery(host):
    reconciler = host.reconciler()
    host.die(101)
    reconciler.record_delivery(1, 101)
    due = host.clock.monotonic + 1_000_000_000
    assert reconciler.next_due() == due

    host.clock.advance(0.5)
    host.die(102)
    reconciler.record_delivery(2, 102)
    assert reconciler.next_due() == due


def test_while_kills_go_on_the_next_check_is_due_a_second_later(host):
    reconciler = host.reconciler()
    host.die(101)
    reconciler.record_delivery(1, 101)
    host.clock.advance(1)
    reconcile(reconciler, times=1)
    assert reconciler.next_due() == host.clock.monotonic + 1_000_000_000

    host.clock.advance(1)
    reconcile(reconciler, times=1)
    assert reconciler.next_due() is None


def test_while_a_difference_waits_for_a_pause_the_log_is_searched_once(host, monkeypatch):
    searches = []
    monkeypatch.setattr(boot_log, "read_boot_log", lambda *_, **__: searches.append(1))
    reconciler = host.reconciler()
    for tid in (101, 102, 103):
        host.die(tid)
        assert reconcile(reconciler, times=1) == []
    assert len(searches) == 1

    assert summary(reconcile(reconciler, times=1)) == [3]
    assert len(searches) == 2


def test_a_new_difference_is_searched_for_again(host, monkeypatch):
    searches = []
    monkeypatch.setattr(boot_log, "read_boot_log", lambda *_, **__: searches.append(1))
    reconciler = host.reconciler()
    host.die(101)
    reconcile(reconciler, times=2)
    host.die(102)
    reconcile(reconciler, times=1)

    assert len(searches) == 3


def test_a_counter_that_cannot_be_read_now_is_read_later(host):
    reconciler = host.reconciler()
    host.die(101)
    reconciler.record_delivery(1, 101)
    (host.proc / "vmstat").unlink()
    host.clock.advance(1)

    assert list(reconciler.reconcile(reconciler.read_counters(), nothing)) == []
    assert reconciler.next_due() == host.clock.monotonic + 1_000_000_000


def test_a_reading_while_kills_go_on_does_not_move_the_base(host):
    reconciler = host.reconciler()
    host.seen = 1
    for _ in range(2):
        list(reconciler.reconcile(CounterReading(kernel=15, source=1, steady=False), nothing))
        assert reconciler.base == 10

    list(reconciler.reconcile(CounterReading(kernel=15, source=1, steady=True), nothing))
    assert reconciler.base == 14


def test_two_readings_that_agree_are_believed_and_no_earlier(host):
    readings = iter([0, 1, 2, 2])
    reconciler = host.reconciler()
    reconciler._kill_count = lambda: next(readings)
    host.clock.sleeps.clear()

    assert reconciler.read_counters() == CounterReading(kernel=10, source=2, steady=True)
    assert len(host.clock.sleeps) == 3


def test_counters_that_never_rest_are_read_all_the_same(host):
    readings = iter(range(1000))
    reconciler = host.reconciler()
    reconciler._kill_count = lambda: next(readings)
    reading = reconciler.read_counters()

    assert reading is not None
    assert not reading.steady


def test_a_loss_has_a_name_of_its_own_and_says_between_when(host):
    reconciler = host.reconciler()
    began = host.clock.time_ns()
    host.clock.advance(3)
    host.die(101)
    host.kmsg.write_text("")
    (loss,) = reconcile(reconciler)

    assert isinstance(loss, record.OomLost)
    assert loss.id == "12345678-lost-11-1"
    assert loss.lost.from_ == rfc3339(began)
    assert loss.lost.to == loss.observed == rfc3339(host.clock.time_ns())
    between = f"between {loss.lost.from_} and {loss.lost.to}"
    assert loss.message == f"1 kill of the kernel's OOM killer {between} could not be seen"
    assert loss.host == HOST


def test_a_second_loss_begins_where_the_first_ended(host):
    reconciler = host.reconciler()
    host.kmsg.write_text("")
    losses = []
    for count in (11, 12):
        host.clock.advance(3)
        host.count(count)
        host.seen += 1
        losses += reconcile(reconciler)

    first, second = losses
    assert second.lost.from_ == first.lost.to < second.lost.to


def test_no_more_kills_are_backfilled_than_are_missing(host):
    """The log no longer has the first kill, and knows two others by other threads than the probes: the last is new."""
    reconciler = host.reconciler()
    host.die(101, 102, 103)
    reconciler.record_delivery(1, 998)
    reconciler.record_delivery(2, 999)
    host.kmsg.write_text("".join(host.log[1:]))

    assert summary(reconcile(reconciler)) == [(13, 103, "log")]


def test_the_checkpoint_is_where_no_kill_is_missing(host):
    reconciler = host.reconciler()
    host.die(101, 102)
    reconciler.record_delivery(2, 102)
    assert reconciler.checkpoint() == Checkpoint(BOOT_ID, 10, rfc3339(host.clock.time_ns()))

    reconciler.record_delivery(1, 101)
    assert reconciler.checkpoint() == Checkpoint(BOOT_ID, 12, rfc3339(host.clock.time_ns()))


def test_without_a_boot_id_there_is_no_checkpoint(host):
    nameless = Reconciler(
        lambda: 0, replace(HOST, boot_id=None), "reduced", proc=host.proc, kmsg=host.kmsg, clock=host.clock
    )

    assert nameless.checkpoint() is None


def test_losses_never_begin_in_the_future_however_the_clock_was_set(host):
    host.count(13)
    checkpoint = Checkpoint(BOOT_ID, 10, "2099-01-01T00:00:00.000000Z")
    reconciler = Reconciler(lambda: 0, HOST, "reduced", checkpoint, proc=host.proc, kmsg=host.kmsg, clock=host.clock)

    (loss,) = reconciler.catch_up(nothing)

    assert isinstance(loss, record.OomLost)
    assert loss.lost.count == 3
    assert loss.lost.from_ <= loss.lost.to


def test_a_dropped_oom_without_a_kill_is_not_a_pending_kill(host):
    reconciler = host.reconciler()
    host.die(101)
    reconciler.record_delivery(1, 101)
    reconciler.mark_dropped(
        record.OomNoKill(id="12345678-1-0", observed="", message="", host=HOST, oom=record.Oom(incident="1"))
    )

    assert reconcile(reconciler) == []


def test_an_oom_without_a_kill_is_neither_backfilled_nor_taken_for_a_missing_kill(host):
    reconciler = host.reconciler()
    host.log += [
        "3,7,99000000,-;hog invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=-1000\n",
        "3,8,99000001,-;Out of memory and no killable processes...\n",
    ]
    host.die(101)

    assert summary(reconcile(reconciler)) == [(11, 101, "log")]


def test_a_kill_that_neither_log_nor_source_has_yet_keeps_its_ordinal(host):
    """The kernel has counted it; it logs and signals it only after the check."""
    reconciler = host.reconciler()
    host.count(11)
    assert reconcile(reconciler, times=1) == []

    host.seen = 1
    reconciler.record_delivery(1, 101)
    assert reconciler.base == 10
    assert reconcile(reconciler) == []


def test_while_a_difference_waits_for_a_pause_later_kills_have_their_own_ordinals(host):
    reconciler = host.reconciler()
    host.kmsg.write_text("")
    host.count(11)
    assert reconcile(reconciler, times=1) == []
    host.count(12)
    host.seen = 1
    reconciler.record_delivery(1, 102)

    assert reconcile(reconciler, times=1) == []
    assert reconciler.base == 11
