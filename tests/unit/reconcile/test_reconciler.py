# SPDX-License-Identifier: Apache-2.0
"""The reconciler: a kernel that counts, a source that has seen less, and a kernel log that still has some of it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from support.probe_events import BOOT_ID, HOST, kill, lost

from ooMtrace import record
from ooMtrace.kernel.kill_counter import read_kill_count
from ooMtrace.kmsg import boot_log
from ooMtrace.kmsg.boot_log import read_boot_log
from ooMtrace.kmsg.device import KernelLog
from ooMtrace.reconcile.checkpoint import Checkpoint
from ooMtrace.reconcile.reconciler import Reconciler

KILLED = (
    "3,{seq},{us},-;Memory cgroup out of memory: Killed process {tid} (worker) total-vm:100kB, anon-rss:40kB, "
    "file-rss:4kB, shmem-rss:0kB, UID:1000 pgtables:64kB oom_score_adj:0\n"
)


class Host:
    """A machine: what it counts, what its log has, and what the source has seen of it."""

    def __init__(self, folder: Path, counted: int = 10) -> None:
        self.proc, self.kmsg = folder, folder / "kmsg"
        self.seen = 0
        self.log: list[str] = []
        self.count(counted)

    def count(self, kills: int) -> None:
        self.counted = kills
        (self.proc / "vmstat").write_text(f"nr_free_pages 1\noom_kill {kills}\npgfault 3\n")

    def die(self, *tids: int, seen: bool = True) -> None:
        """Count these kills and log them; the source counts what it has seen."""
        self.count(self.counted + len(tids))
        self.seen += len(tids) if seen else 0
        for tid in tids:
            # further apart than members of a group may be
            self.log.append(KILLED.format(seq=len(self.log), us=100_000_000 * (len(self.log) + 1), tid=tid))
        self.kmsg.write_text("".join(self.log))

    def reconciler(self, since: Checkpoint | None = None) -> Reconciler:
        return Reconciler(lambda: self.seen, HOST, "reduced", since, proc=self.proc, kmsg=self.kmsg)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def reconcile(reconciler: Reconciler, *, times: int = 2, final: bool = False) -> list[record.Record]:
    """Look as often as it takes to be sure that nothing dies any more."""
    found: list[record.Record] = []
    for _ in range(times):
        reading = reconciler.read_counters()
        assert reading
        assert reading.steady
        found += reconciler.reconcile(reading, final=final)
    return found


def told(lines: Iterable[record.Record]) -> list[object]:
    """Return numbers and threads of kills, and the count of losses."""
    return [
        one.lost.count if isinstance(one, record.OomLost) else (one.oom.number, one.process.tid, one.fidelity)
        for one in lines
    ]


def test_where_all_have_arrived_there_is_nothing_to_say_and_nothing_to_wait_for(host):
    reconciler = host.reconciler()
    host.die(101, 102)
    reconciler.record_delivery(1, 101)
    reconciler.record_delivery(2, 102)

    assert reconciler.next_due() is not None
    assert reconcile(reconciler) == []
    assert reconciler.next_due() is None


def test_nothing_is_due_while_nothing_dies(host):
    assert host.reconciler().next_due() is None


def test_what_has_not_arrived_is_read_from_the_kernel_log(host):
    reconciler = host.reconciler()
    host.die(101, 102, 103, 104)
    reconciler.record_delivery(1, 101)
    reconciler.record_delivery(4, 104)

    found = reconcile(reconciler)

    assert told(found) == [(12, 102, "log"), (13, 103, "log")]
    assert [one.id for one in found] == ["12345678-12-102", "12345678-13-103"]
    assert reconcile(reconciler) == []


def test_what_the_log_has_not_either_is_lost_and_that_is_said(host):
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


def test_what_the_log_has_in_part_is_lost_in_part(host):
    reconciler = host.reconciler()
    host.die(101, 102, 103)
    del host.log[:2]
    host.kmsg.write_text("".join(host.log))

    assert told(reconcile(reconciler)) == [(13, 103, "log"), 2]


def test_a_log_that_cannot_be_read_leaves_the_loss(host):
    reconciler = host.reconciler()
    host.die(101, 102)
    host.kmsg.unlink()

    assert told(reconcile(reconciler)) == [2]


def test_the_kernel_log_is_asked_at_once_for_it_forgets(host):
    reconciler = host.reconciler()
    host.die(101)
    assert told(reconcile(reconciler, times=1)) == [(11, 101, "log")]
    host.log.clear()
    host.die(102)
    reconciler.record_delivery(2, 102)

    assert reconcile(reconciler) == []


def test_a_loss_waits_until_nothing_dies_but_not_for_ever(host):
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
    assert told(found) == [count - 10]


def test_what_is_made_up_for_but_finds_no_room_is_not_forgotten(host):
    reconciler = host.reconciler()
    host.die(101, 102)
    for line in reconcile(reconciler):
        reconciler.mark_dropped(line)

    assert told(reconcile(reconciler)) == [2]


def test_the_last_look_does_not_wait(host):
    reconciler = host.reconciler()
    host.die(101)

    assert told(reconcile(reconciler, times=1, final=True)) == [(11, 101, "log")]


def test_kills_that_the_probes_have_missed_do_not_shift_those_that_come_after(host):
    reconciler = host.reconciler()
    host.die(101, seen=False)
    host.die(102)
    reconciler.record_delivery(1, 102)

    assert told(reconcile(reconciler)) == [(11, 101, "log")]
    host.die(103)
    reconciler.record_delivery(2, 103)
    left = reconciler.checkpoint()
    assert left is not None
    assert left.oom_kill == 13
    assert reconcile(reconciler) == []


def test_the_second_death_of_a_groups_first_is_not_lost(host):
    reconciler = host.reconciler()
    host.die(101, 102)
    group = "Tasks in /job are going to be killed due to memory.oom.group set"
    again = "".join(host.log[:1]).replace(";", f";{group}\n6,2,100000001,-;", 1).replace("3,0,", "6,1,", 1)
    host.kmsg.write_text("".join(host.log[:1]) + again + host.log[1].replace("200000000", "100000002"))
    host.count(13)
    host.seen += 1
    reconciler.record_delivery(1, 101)

    assert told(reconcile(reconciler)) == [(13, 102, "log")]


def test_a_line_that_found_no_room_is_made_up_for(host):
    reconciler = host.reconciler()
    host.die(101, 102)
    reconciler.record_delivery(1, 101)
    reconciler.record_delivery(2, 102)
    told_of = kill(oom=record.Oom(incident="x", number=12))
    reconciler.mark_dropped(told_of)

    assert told(reconcile(reconciler)) == [(12, 102, "log")]


def test_a_loss_that_could_not_be_told_is_told_later(host):
    reconciler = host.reconciler()
    reconciler.mark_dropped(lost(3))

    assert reconciler.next_due() is not None
    assert told(reconcile(reconciler)) == [3]


def test_what_is_no_kill_is_not_missed(host):
    reconciler = host.reconciler()
    reconciler.mark_dropped(kill(event="oom_exit", oom=record.Oom(incident="x", number=11)))
    reconciler.mark_dropped(kill(oom=record.Oom(incident="x", verdict="shared_mm")))

    assert reconcile(reconciler) == []


def since(host: Host, number: int, boot_id: str = BOOT_ID) -> Checkpoint:
    return Checkpoint(boot_id, number, "2023-11-14T22:13:19.000000Z")


def test_what_died_since_an_earlier_run_comes_first_and_once(host):
    host.die(101, 102, 103, seen=False)
    reconciler = host.reconciler(since(host, 11))

    assert told(reconciler.catch_up()) == [(12, 102, "log"), (13, 103, "log")]
    assert list(reconciler.catch_up()) == []
    left = reconciler.checkpoint()
    assert left is not None
    assert (left.boot_id, left.oom_kill) == (BOOT_ID, 13)
    assert reconcile(reconciler) == []


def test_of_what_died_since_then_the_log_may_have_nothing_any_more(host):
    host.count(13)
    (line,) = host.reconciler(since(host, 11)).catch_up()

    assert isinstance(line, record.OomLost)
    assert line.lost.count == 2
    assert line.lost.from_ == "2023-11-14T22:13:19.000000Z"


def test_without_an_earlier_run_nothing_came_before(host):
    host.die(101, seen=False)

    assert list(host.reconciler().catch_up()) == []


def test_after_a_boot_all_of_it_is_news(host):
    host.count(0)
    host.die(101, 102, seen=False)

    assert told(host.reconciler(since(host, 4711, "another")).catch_up()) == [(1, 101, "log"), (2, 102, "log")]


def test_a_state_from_the_future_is_not_believed(host):
    host.die(101, seen=False)
    reconciler = host.reconciler(since(host, 4711))

    assert list(reconciler.catch_up()) == []
    host.die(102)
    assert told(reconcile(reconciler)) == [(12, 102, "log")]


def test_a_kernel_that_does_not_count_has_no_books(tmp_path):
    (tmp_path / "vmstat").write_text("nr_free_pages 1\n")
    reconciler = Reconciler(lambda: 0, HOST, "log", proc=tmp_path, kmsg=tmp_path / "kmsg")

    assert reconciler.base is None
    assert reconciler.read_counters() is None
    reconciler.record_delivery(1, 101)
    assert reconciler.next_due() is None
    assert reconciler.checkpoint() is None
    assert list(reconciler.catch_up()) == []


def test_a_log_with_a_gap_is_read_again(host, monkeypatch):
    """What was overwritten meanwhile would shift the numbers of all before it."""
    host.die(101, 102)
    opened = []

    class Log(KernelLog):
        def records(self):
            opened.append(self)
            whole = list(super().records())
            self.gaps = int(len(opened) < 3)
            return iter(whole if len(opened) >= 3 else whole[1:])

    monkeypatch.setattr(boot_log, "KernelLog", Log)
    found = read_boot_log(HOST, host.proc, host.kmsg)

    assert found is not None
    assert len(opened) == 3
    assert [kill.oom.number for kill in found.kills] == [11, 12]


@pytest.mark.parametrize(
    ("text", "count"), [("oom_kill 0\n", 0), ("a 1\noom_kill 17\n", 17), ("xoom_kill 3\n", None), ("", None)]
)
def test_the_kernels_count_is_read_from_vmstat(tmp_path, text, count):
    (tmp_path / "vmstat").write_text(text)

    assert read_kill_count(tmp_path) == count
    assert read_kill_count(tmp_path / "nowhere") is None
