# SPDX-License-Identifier: Apache-2.0
"""The books: a kernel that counts, a source that has seen less, and a kernel log that still has some of it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from support.probe_events import BOOT_ID, HOST, kill, lost

from ooMtrace import record
from ooMtrace.kmsg.device import KernelLog
from ooMtrace.reconcile import reconciler as books_module
from ooMtrace.reconcile.checkpoint import State
from ooMtrace.reconcile.reconciler import Books, oom_kills, this_boot

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

    def books(self, since: State | None = None) -> Books:
        return Books(lambda: self.seen, HOST, "victim", since, proc=self.proc, kmsg=self.kmsg)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def look(books: Books, *, times: int = 2, final: bool = False) -> list[record.Line]:
    """Look as often as it takes to be sure that nothing dies any more."""
    found: list[record.Line] = []
    for _ in range(times):
        reading = books.read()
        assert reading
        assert reading.steady
        found += books.look(reading, final=final)
    return found


def told(lines: Iterable[record.Line]) -> list[object]:
    """Return numbers and threads of kills, and the count of losses."""
    return [
        one.lost.count if isinstance(one, record.OomLost) else (one.oom.number, one.process.tid, one.source)
        for one in lines
    ]


def test_where_all_have_arrived_there_is_nothing_to_say_and_nothing_to_wait_for(host):
    books = host.books()
    host.die(101, 102)
    books.arrived(1, 101)
    books.arrived(2, 102)

    assert books.next_due() is not None
    assert look(books) == []
    assert books.next_due() is None


def test_nothing_is_due_while_nothing_dies(host):
    assert host.books().next_due() is None


def test_what_has_not_arrived_is_read_from_the_kernel_log(host):
    books = host.books()
    host.die(101, 102, 103, 104)
    books.arrived(1, 101)
    books.arrived(4, 104)

    found = look(books)

    assert told(found) == [(12, 102, "kmsg"), (13, 103, "kmsg")]
    assert [one.id for one in found] == ["12345678-12-102", "12345678-13-103"]
    assert look(books) == []


def test_what_the_log_has_not_either_is_lost_and_that_is_said(host):
    books = host.books()
    host.die(101, 102, 103)
    host.log.clear()
    host.kmsg.write_text("")

    (line,) = look(books)

    assert isinstance(line, record.OomLost)
    assert line.lost.count == 3
    assert line.lost.from_ < line.lost.to
    assert line.source == "victim"
    assert line.message.startswith("3 kills of the kernel's OOM killer between ")
    assert look(books) == []


def test_what_the_log_has_in_part_is_lost_in_part(host):
    books = host.books()
    host.die(101, 102, 103)
    del host.log[:2]
    host.kmsg.write_text("".join(host.log))

    assert told(look(books)) == [(13, 103, "kmsg"), 2]


def test_a_log_that_cannot_be_read_leaves_the_loss(host):
    books = host.books()
    host.die(101, 102)
    host.kmsg.unlink()

    assert told(look(books)) == [2]


def test_the_kernel_log_is_asked_at_once_for_it_forgets(host):
    books = host.books()
    host.die(101)
    assert told(look(books, times=1)) == [(11, 101, "kmsg")]
    host.log.clear()
    host.die(102)
    books.arrived(2, 102)

    assert look(books) == []


def test_a_loss_waits_until_nothing_dies_but_not_for_ever(host):
    books = host.books()
    host.kmsg.write_text("")
    found = []
    for count in range(11, 90):
        host.count(count)
        host.seen += 1
        found += look(books, times=1)
        if found:
            break

    assert 70 < count < 75
    assert told(found) == [count - 10]


def test_what_is_made_up_for_but_finds_no_room_is_not_forgotten(host):
    books = host.books()
    host.die(101, 102)
    for line in look(books):
        books.refused(line)

    assert told(look(books)) == [2]


def test_the_last_look_does_not_wait(host):
    books = host.books()
    host.die(101)

    assert told(look(books, times=1, final=True)) == [(11, 101, "kmsg")]


def test_kills_that_the_probes_have_missed_do_not_shift_those_that_come_after(host):
    books = host.books()
    host.die(101, seen=False)
    host.die(102)
    books.arrived(1, 102)

    assert told(look(books)) == [(11, 101, "kmsg")]
    host.die(103)
    books.arrived(2, 103)
    left = books.settled()
    assert left is not None
    assert left.oom_kill == 13
    assert look(books) == []


def test_the_second_death_of_a_groups_first_is_not_lost(host):
    books = host.books()
    host.die(101, 102)
    group = "Tasks in /job are going to be killed due to memory.oom.group set"
    again = "".join(host.log[:1]).replace(";", f";{group}\n6,2,100000001,-;", 1).replace("3,0,", "6,1,", 1)
    host.kmsg.write_text("".join(host.log[:1]) + again + host.log[1].replace("200000000", "100000002"))
    host.count(13)
    host.seen += 1
    books.arrived(1, 101)

    assert told(look(books)) == [(13, 102, "kmsg")]


def test_a_line_that_found_no_room_is_made_up_for(host):
    books = host.books()
    host.die(101, 102)
    books.arrived(1, 101)
    books.arrived(2, 102)
    told_of = kill(oom=record.Oom(incident="x", number=12))
    books.refused(told_of)

    assert told(look(books)) == [(12, 102, "kmsg")]


def test_a_loss_that_could_not_be_told_is_told_later(host):
    books = host.books()
    books.refused(lost(3))

    assert books.next_due() is not None
    assert told(look(books)) == [3]


def test_what_is_no_kill_is_not_missed(host):
    books = host.books()
    books.refused(kill(event="oom_exit", oom=record.Oom(incident="x", number=11)))
    books.refused(kill(oom=record.Oom(incident="x", verdict="shared_mm")))

    assert look(books) == []


def since(host: Host, number: int, boot_id: str = BOOT_ID) -> State:
    return State(boot_id, number, "2023-11-14T22:13:19.000000Z")


def test_what_died_since_an_earlier_run_comes_first_and_once(host):
    host.die(101, 102, 103, seen=False)
    books = host.books(since(host, 11))

    assert told(books.earlier()) == [(12, 102, "kmsg"), (13, 103, "kmsg")]
    assert list(books.earlier()) == []
    left = books.settled()
    assert left is not None
    assert (left.boot_id, left.oom_kill) == (BOOT_ID, 13)
    assert look(books) == []


def test_of_what_died_since_then_the_log_may_have_nothing_any_more(host):
    host.count(13)
    (line,) = host.books(since(host, 11)).earlier()

    assert isinstance(line, record.OomLost)
    assert line.lost.count == 2
    assert line.lost.from_ == "2023-11-14T22:13:19.000000Z"


def test_without_an_earlier_run_nothing_came_before(host):
    host.die(101, seen=False)

    assert list(host.books().earlier()) == []


def test_after_a_boot_all_of_it_is_news(host):
    host.count(0)
    host.die(101, 102, seen=False)

    assert told(host.books(since(host, 4711, "another")).earlier()) == [(1, 101, "kmsg"), (2, 102, "kmsg")]


def test_a_state_from_the_future_is_not_believed(host):
    host.die(101, seen=False)
    books = host.books(since(host, 4711))

    assert list(books.earlier()) == []
    host.die(102)
    assert told(look(books)) == [(12, 102, "kmsg")]


def test_a_kernel_that_does_not_count_has_no_books(tmp_path):
    (tmp_path / "vmstat").write_text("nr_free_pages 1\n")
    books = Books(lambda: 0, HOST, "kmsg", proc=tmp_path, kmsg=tmp_path / "kmsg")

    assert books.base is None
    assert books.read() is None
    books.arrived(1, 101)
    assert books.next_due() is None
    assert books.settled() is None
    assert list(books.earlier()) == []


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

    monkeypatch.setattr(books_module, "KernelLog", Log)
    found = this_boot(HOST, host.proc, host.kmsg)

    assert found is not None
    assert len(opened) == 3
    assert [kill.oom.number for kill in found.kills] == [11, 12]


@pytest.mark.parametrize(
    ("text", "count"), [("oom_kill 0\n", 0), ("a 1\noom_kill 17\n", 17), ("xoom_kill 3\n", None), ("", None)]
)
def test_the_kernels_count_is_read_from_vmstat(tmp_path, text, count):
    (tmp_path / "vmstat").write_text(text)

    assert oom_kills(tmp_path) == count
    assert oom_kills(tmp_path / "nowhere") is None
