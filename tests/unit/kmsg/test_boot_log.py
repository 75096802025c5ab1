# SPDX-License-Identifier: Apache-2.0
"""The kernel log of this boot beside the kernel's count: each kill gets its ordinal, or there is no answer."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from support.probe_events import HOST, NOW

from ooMtrace.kmsg import boot_log
from ooMtrace.kmsg.boot_log import ATTEMPTS, parse_boot_log, read_boot_log
from ooMtrace.kmsg.device import KernelLog
from ooMtrace.kmsg.to_record import Origin

FIXTURES = Path(__file__).parents[2] / "fixtures/kmsg"
REPORT = (FIXTURES / "format-kmsg.log").read_bytes().splitlines(keepends=True)[2:102]
ORIGIN = Origin("2026-11-24T04:00:00.000000Z", HOST)


def killed(tid: int, caller: str = "") -> bytes:
    flags = f"-,caller={caller}" if caller else "-"
    return (
        f"3,{tid},{tid}000000,{flags};Memory cgroup out of memory: Killed process {tid} (worker) total-vm:100kB, "
        "anon-rss:40kB, file-rss:4kB, shmem-rss:0kB, UID:1000 pgtables:64kB oom_score_adj:0\n"
    ).encode()


class Machine:
    """A kernel that counts and logs; it is its own clock, so that something can happen while a reader sleeps."""

    def __init__(self, folder: Path) -> None:
        self.proc, self.kmsg = folder, folder / "kmsg"
        self.count(10)
        self.kmsg.touch()
        self.during_sleep = lambda: None
        self.slept_s = 0.0

    def count(self, kills: int) -> None:
        self.counted = kills
        (self.proc / "vmstat").write_text(f"nr_free_pages 1\noom_kill {kills}\n")

    def log(self, *tids: int) -> None:
        with self.kmsg.open("ab") as file:
            file.write(b"".join(map(killed, tids)))

    def kill(self, *tids: int) -> None:
        self.count(self.counted + len(tids))
        self.log(*tids)

    def sleep(self, seconds: float, /) -> None:
        self.slept_s += seconds
        self.during_sleep()

    def read(self) -> boot_log.BootLog | None:
        return read_boot_log(HOST, self.proc, self.kmsg, clock=self)  # type: ignore[arg-type]


@pytest.fixture
def machine(tmp_path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture
def opened(monkeypatch) -> list[KernelLog]:
    """Return all logs that are opened, as they are."""
    logs: list[KernelLog] = []

    class Log(KernelLog):
        def __init__(self, path: Path) -> None:
            super().__init__(path)
            logs.append(self)

    monkeypatch.setattr(boot_log, "KernelLog", Log)
    return logs


def ordinals(found: boot_log.BootLog | None) -> list[tuple[int | None, int | None]]:
    assert found is not None
    return [(kill.oom.number, kill.process.tid) for kill in found.kills]


def test_kills_are_numbered_from_the_end_of_the_log():
    found = parse_boot_log(REPORT * 3, ORIGIN, 17)

    assert [kill.oom.number for kill in found.kills] == [15, 16, 17]
    assert found.before == 14
    assert found.repeat_kills == frozenset()


def test_the_first_victim_of_a_group_is_counted_twice():
    records = []
    for place, line in enumerate((FIXTURES / "vm-7.3-group.log").read_bytes().splitlines()):
        text = line.partition(b"] ")[2]
        records.append(b"6,%d,%d,-;%s\n" % (place, place, text))
    found = parse_boot_log(records, ORIGIN, 100)

    assert sum(b"Killed process" in record for record in records) == 9
    assert found.before == 91
    assert len(found.kills) == 8
    assert len(found.repeat_kills) == 1
    assert {kill.oom.number for kill in found.kills} | found.repeat_kills == set(range(92, 101))


def test_kills_are_sorted_by_ordinal_where_reports_overlap():
    """The report of T1 stays open until the end, after that of T2 is complete."""
    found = parse_boot_log([killed(1, "T1"), killed(2, "T2"), killed(3, "T2")], ORIGIN, 3)

    assert ordinals(found) == [(1, 1), (2, 2), (3, 3)]


def test_a_process_that_only_shared_memory_is_left_out():
    sharing = b"3,2,2,-;Kill process 2 (worker) sharing same memory\n"

    assert ordinals(parse_boot_log([killed(1), sharing], ORIGIN, 5)) == [(5, 1)]


def test_log_and_count_are_read_together(machine, opened):
    machine.kill(101, 102)
    found = machine.read()

    assert ordinals(found) == [(11, 101), (12, 102)]
    assert found.before == 10
    assert found.kills[0].host == HOST
    assert len(opened) == 1
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(opened[0].fd)


def test_a_kill_that_is_counted_but_not_yet_printed_shifts_no_ordinal(machine):
    """__oom_kill_process() counts first: for a moment the log lacks what the count has."""
    machine.kill(101)
    machine.count(12)
    machine.during_sleep = lambda: machine.log(102)

    assert ordinals(machine.read()) == [(11, 101), (12, 102)]


def test_a_kill_while_the_log_is_read_makes_it_be_read_again(machine, opened, monkeypatch):
    machine.kill(101)
    counts = iter([11, 12, 12, 12])
    monkeypatch.setattr(boot_log, "read_kill_count", lambda proc: next(counts))
    machine.log(102)

    assert ordinals(machine.read()) == [(11, 101), (12, 102)]
    assert len(opened) == 2


def test_a_log_with_a_gap_is_read_again(machine, monkeypatch):
    """Records that are overwritten meanwhile would shift the ordinals of all before them."""
    machine.kill(101, 102)
    opened = []

    class Log(KernelLog):
        def records(self):
            opened.append(self)
            records = list(super().records())
            self.gaps = int(len(opened) < 3)
            return iter(records if len(opened) >= 3 else records[1:])

    monkeypatch.setattr(boot_log, "KernelLog", Log)

    assert ordinals(machine.read()) == [(11, 101), (12, 102)]
    assert len(opened) == 3


def test_there_is_no_answer_while_kills_never_pause(machine, opened):
    machine.during_sleep = lambda: machine.kill(7)

    assert machine.read() is None
    assert len(opened) == ATTEMPTS


def test_there_is_no_answer_where_the_kernel_does_not_count(machine, opened):
    (machine.proc / "vmstat").write_text("nr_free_pages 1\n")

    assert machine.read() is None
    assert opened == []


def test_there_is_no_answer_where_the_log_cannot_be_read(machine):
    machine.kmsg.unlink()

    assert machine.read() is None


def test_the_log_is_observed_after_it_was_read(machine, opened, monkeypatch):
    """Otherwise a kill during the first attempts would have happened after it was observed."""
    observed = replace(NOW, monotonic=3_600_000_000_000)

    def snapshot():
        assert opened
        return observed

    monkeypatch.setattr(boot_log, "take_snapshot", snapshot)
    machine.kill(101)
    (kill,) = machine.read().kills

    assert kill.time == observed.from_monotonic(101_000_000_000)
    assert kill.time < kill.observed


def test_while_kills_go_on_the_log_is_read_for_less_than_a_second(machine):
    machine.during_sleep = lambda: machine.count(machine.counted + 1)

    assert machine.read() is None
    assert 0 < machine.slept_s < 1


def test_a_log_that_can_be_opened_and_not_read_is_none(machine):
    machine.kmsg.unlink()
    machine.kmsg.mkdir()

    assert machine.read() is None
