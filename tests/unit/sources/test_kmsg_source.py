# SPDX-License-Identifier: Apache-2.0
"""The kernel log as a source: reports while they are printed, each kill once and with its ordinal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.probe_events import HOST, NOW

from ooMtrace.kernel.snapshot import HostSnapshot, rfc3339
from ooMtrace.sources.kmsg_source import REPORT_IDLE_NS, KmsgSource

FIXTURES = Path(__file__).parents[2] / "fixtures/kmsg"
BOTH = (FIXTURES / "format-kmsg.log").read_bytes().splitlines(keepends=True)
REPORT = BOTH[2:102]
"""The second of its two kills, with what the kernel printed before it."""

GROUP_LINE = "Tasks in /g are going to be killed due to memory.oom.group set"
MS = 1_000_000


class Clock:
    """Stands still until a test turns it; the log and the snapshots share it."""

    def __init__(self) -> None:
        self.now = 5_000_000_000_000

    def monotonic_ns(self) -> int:
        return self.now

    def time_ns(self) -> int:
        return NOW.realtime - NOW.monotonic + self.now

    def sleep(self, seconds: float, /) -> None:
        self.now += int(seconds * 1e9)

    def snapshot(self) -> HostSnapshot:
        return replace(NOW, monotonic=self.now, realtime=self.time_ns())


class DeliveryLog:
    def __init__(self, base: int | None = 40) -> None:
        self.base = base
        self.deliveries: list[tuple[int, int | None]] = []

    def record_delivery(self, nth: int, tid: int | None) -> None:
        self.deliveries.append((nth, tid))


class FakeLog:
    """A kernel log to which tests append; /dev/kmsg gives one record for each read."""

    def __init__(self, clock: Clock) -> None:
        self.fd, self.gaps = 99, 0
        self.new: list[bytes] = []
        self.read_takes = 0
        self._clock = clock

    def print(self, *texts: str, caller: str = "") -> None:
        flags = f"-,caller={caller}" if caller else "-"
        self.new += [f"3,1,{self._clock.now // 1000},{flags};{text}\n".encode() for text in texts]

    def kill(self, tid: int, caller: str = "") -> None:
        self.print(
            f"Memory cgroup out of memory: Killed process {tid} (worker) total-vm:100kB, anon-rss:40kB, file-rss:4kB, "
            "shmem-rss:0kB, UID:1000 pgtables:64kB oom_score_adj:0",
            caller=caller,
        )

    def records(self) -> Iterator[bytes]:
        while self.new:
            yield self.new.pop(0)
        self._clock.now += self.read_takes

    def close(self) -> None:
        self.fd = -1


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def log(clock: Clock) -> FakeLog:
    return FakeLog(clock)


@pytest.fixture
def source(log: FakeLog, clock: Clock) -> KmsgSource:
    return KmsgSource(log, HOST, take_snapshot=clock.snapshot, clock=clock)  # type: ignore[arg-type]


@pytest.fixture
def delivery_log() -> DeliveryLog:
    return DeliveryLog()


def tids(kills) -> list[int]:
    return [kill.process.tid for kill in kills]


def test_a_kill_is_emitted_when_its_report_is_complete_and_not_before(source, log, clock, delivery_log):
    for line in REPORT:
        log.new.append(line)
        assert list(source.kills(delivery_log)) == []
    due = source.next_due()
    assert due == clock.now + REPORT_IDLE_NS
    clock.now = due - 1
    assert list(source.kills(delivery_log)) == []
    clock.now = due
    (kill,) = source.kills(delivery_log)

    assert kill.fidelity == "log"
    assert kill.oom.number == 41
    assert kill.id == f"12345678-41-{kill.process.tid}"
    assert kill.host == HOST
    assert source.next_due() is None
    clock.now += 10 * REPORT_IDLE_NS
    assert list(source.kills(delivery_log)) == []


def test_a_delivery_is_recorded_once_while_the_report_is_open(source, log, clock, delivery_log):
    log.kill(7)
    list(source.kills(delivery_log))

    assert delivery_log.deliveries == [(1, 7)], "it is not missing while its report is open"
    clock.now += REPORT_IDLE_NS // 2
    log.print("eth0: link up")
    list(source.kills(delivery_log))
    clock.now += REPORT_IDLE_NS
    assert tids(source.kills(delivery_log)) == [7]
    list(source.drain(delivery_log))
    assert delivery_log.deliveries == [(1, 7)]


def test_a_delivery_is_recorded_once_if_its_report_is_complete_when_read(source, log, delivery_log):
    log.kill(7)
    log.kill(8)  # completes the report of the first

    assert tids(source.kills(delivery_log)) == [7]
    assert sorted(delivery_log.deliveries) == [(1, 7), (2, 8)]
    assert tids(source.drain(delivery_log)) == [8]
    assert sorted(delivery_log.deliveries) == [(1, 7), (2, 8)]


def test_kills_read_by_kill_count_are_recorded_and_emitted_by_the_next_call(source, log, clock, delivery_log):
    assert source.kill_count() == 0
    log.kill(7)
    log.kill(8)
    log.kill(9)

    assert source.kill_count() == 3
    assert source.kill_count() == 3
    assert source.next_due() == clock.now + REPORT_IDLE_NS
    assert delivery_log.deliveries == []
    assert tids(source.kills(delivery_log)) == [7, 8]
    assert sorted(delivery_log.deliveries) == [(1, 7), (2, 8), (3, 9)]


def test_a_complete_report_is_due_although_none_is_open(source, log, clock, delivery_log):
    log.kill(7)
    log.print("a invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0")

    assert source.kill_count() == 1
    assert source.next_due() == clock.now + REPORT_IDLE_NS
    assert tids(source.kills(delivery_log)) == [7]
    assert source.next_due() is None


def test_a_repeat_kill_is_recorded_once_and_without_a_thread(source, log, clock, delivery_log):
    """The kernel kills and counts the first victim of a group twice."""
    for line in (FIXTURES / "vm-7.3-group.log").read_text().splitlines():
        log.print(line.partition("] ")[2])
        assert list(source.kills(delivery_log)) == []
    assert list(source.kills(delivery_log)) == []
    recorded = sorted(nth for nth, _ in delivery_log.deliveries)
    clock.now += REPORT_IDLE_NS
    kills = list(source.kills(delivery_log))

    assert len(kills) == 8
    assert recorded == sorted(nth for nth, _ in delivery_log.deliveries) == [*range(1, 10)]
    (repeat,) = (nth for nth, tid in delivery_log.deliveries if tid is None)
    assert {kill.oom.number for kill in kills} | {40 + repeat} == {*range(41, 50)}


def test_a_corrected_base_does_not_turn_one_delivery_into_two(source, log, clock, delivery_log):
    """Kills were lost: the delivery log finds out while a report is open, and the ordinals of later kills grow."""
    log.kill(7)
    list(source.kills(delivery_log))
    delivery_log.base = 42
    clock.now += REPORT_IDLE_NS
    (kill,) = source.kills(delivery_log)

    assert delivery_log.deliveries == [(1, 7)]
    assert kill.oom.number == 43


def test_the_timeout_factor_multiplies_the_idle_time(log, clock, delivery_log):
    source = KmsgSource(log, HOST, 4.0, take_snapshot=clock.snapshot, clock=clock)
    log.kill(7)
    list(source.kills(delivery_log))
    assert source.next_due() == clock.now + 4 * REPORT_IDLE_NS
    clock.now += 4 * REPORT_IDLE_NS - 1
    assert list(source.kills(delivery_log)) == []
    clock.now += 1
    assert tids(source.kills(delivery_log)) == [7]


def test_each_member_of_a_group_extends_the_idle_time(source, log, clock, delivery_log):
    log.kill(1)
    log.print(GROUP_LINE)
    for tid in (2, 3, 4):
        assert list(source.kills(delivery_log)) == []
        clock.now += REPORT_IDLE_NS - 1
        log.kill(tid)
    assert list(source.kills(delivery_log)) == []
    clock.now += REPORT_IDLE_NS
    kills = list(source.kills(delivery_log))

    assert tids(kills) == [1, 2, 3, 4]
    assert {kill.oom.group.size for kill in kills} == {4}


def test_a_pause_while_the_log_is_read_does_not_split_a_group(source, log, clock, delivery_log):
    """A host short of memory stops for long anywhere: what was printed in that time has not been read yet."""
    log.kill(1)
    log.print(GROUP_LINE)
    list(source.kills(delivery_log))
    clock.now += REPORT_IDLE_NS - 1
    log.read_takes = REPORT_IDLE_NS
    assert list(source.kills(delivery_log)) == []
    log.read_takes = 0
    log.kill(2)
    assert list(source.kills(delivery_log)) == []
    clock.now += REPORT_IDLE_NS

    assert [kill.oom.group.size for kill in source.kills(delivery_log)] == [2, 2]


def test_the_idle_time_begins_after_the_log_was_read(source, log, clock, delivery_log):
    log.kill(1)
    log.read_takes = REPORT_IDLE_NS
    list(source.kills(delivery_log))

    assert source.next_due() == clock.now + REPORT_IDLE_NS


def test_a_report_does_not_wait_for_kills_of_other_reports(source, log, clock, delivery_log):
    """Where the log names the caller, reports of a storm are open side by side."""
    log.kill(7, caller="T1")
    list(source.kills(delivery_log))
    clock.now += 200 * MS
    log.kill(8, caller="T2")
    assert list(source.kills(delivery_log)) == []
    assert source.next_due() == clock.now + 50 * MS
    clock.now += 50 * MS
    assert tids(source.kills(delivery_log)) == [7]

    assert source.next_due() == clock.now + 200 * MS
    clock.now += 200 * MS
    assert tids(source.kills(delivery_log)) == [8]


def test_half_a_report_stays_open_until_its_kill(source, log, clock, delivery_log):
    log.new += REPORT[: len(REPORT) // 2]
    assert list(source.kills(delivery_log)) == []
    assert source.next_due() is None
    clock.now += 10 * REPORT_IDLE_NS
    assert list(source.kills(delivery_log)) == []
    log.new += REPORT[len(REPORT) // 2 :]
    assert list(source.kills(delivery_log)) == []
    clock.now += REPORT_IDLE_NS
    (kill,) = source.kills(delivery_log)

    assert kill.oom.trigger is not None
    assert kill.oom.constraint is not None


def test_processes_that_share_memory_are_emitted_but_not_counted(source, log, clock, delivery_log):
    log.kill(7)
    log.print("Kill process 8 (worker) sharing same memory")
    list(source.kills(delivery_log))
    clock.now += REPORT_IDLE_NS
    kills = list(source.kills(delivery_log))

    assert [(kill.process.tid, kill.oom.number) for kill in kills] == [(7, 41), (8, None)]
    assert delivery_log.deliveries == [(1, 7)]
    log.print("Kill process 9 (worker) sharing same memory")
    assert source.kill_count() == 1
    assert source.next_due() == clock.now
    assert tids(source.kills(delivery_log)) == [9]


def test_the_time_of_a_kill_is_computed_from_the_kernels_clock(source, log, clock, delivery_log):
    log.kill(7)
    printed = clock.time_ns()
    clock.now += 10 * MS
    log.read_takes = 5 * MS
    (kill,) = source.drain(delivery_log)

    assert kill.time == rfc3339(printed)
    assert kill.observed == rfc3339(printed + 15 * MS), "not before the log was read"
    assert "time" in kill.derived


def test_no_kill_happens_after_it_was_observed(source, log, clock, delivery_log):
    """The kernel's clock, which stamps the log, is hours ahead here."""
    log.new += REPORT
    clock.now = 1
    (kill,) = source.drain(delivery_log)

    assert kill.time == kill.observed


def test_drain_emits_open_reports_once(source, log, delivery_log):
    log.new += REPORT
    (kill,) = source.drain(delivery_log)

    assert kill.oom.number == 41
    assert delivery_log.deliveries == [(1, 7673)]
    assert source.next_due() is None
    assert list(source.drain(delivery_log)) == []


def test_drain_omits_a_report_without_a_kill(source, log, delivery_log):
    log.new += REPORT[: len(REPORT) // 2]

    assert list(source.drain(delivery_log)) == []
    assert delivery_log.deliveries == []


def test_ids_are_times_where_the_kernel_does_not_count(source, log):
    log.new += REPORT
    (kill,) = source.drain(DeliveryLog(base=None))

    assert kill.oom.number is None
    assert kill.id != f"12345678-41-{kill.process.tid}"


def test_overwritten_records_are_reported_as_lost(source, log):
    assert source.lost_records() == 0
    log.gaps = 2

    assert source.lost_records() == 2


def test_noise_is_no_kill(source, log, delivery_log):
    log.new += [b"6,1,2,-;eth0: link up\n SUBSYSTEM=net\n", b"13,2,3,-;Killed process 1 (forged)\n", b"damaged\n"]

    assert list(source.drain(delivery_log)) == []
    assert delivery_log.deliveries == []
    assert source.kill_count() == 0


def test_closing_the_source_closes_the_log(source, log):
    assert source.fds() == [99]
    source.close()

    assert log.fd == -1


def test_an_oom_without_a_kill_is_emitted_at_once_and_is_no_delivery(source, log, delivery_log):
    log.print(
        "hog invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=-1000",
        "memory: usage 51200kB, limit 51200kB, failcnt 39",
        "Out of memory and no killable processes...",
    )
    (found,) = source.kills(delivery_log)

    assert (found.event, found.oom.reason, found.oom.scope) == ("oom_no_kill", "no_killable_process", "memcg")
    assert found.host == HOST
    assert found.time
    assert delivery_log.deliveries == []
    assert source.kill_count() == 0
    assert source.next_due() is None
    assert list(source.drain(delivery_log)) == []


def test_an_oom_without_a_kill_does_not_change_the_number_of_the_next_kill(source, log, clock, delivery_log):
    log.print(
        "hog invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=-1000",
        "Kernel panic - not syncing: Out of memory: compulsory panic_on_oom is enabled",
    )
    log.kill(7)
    first, last = source.drain(delivery_log)

    assert first.event == "oom_no_kill"
    assert (last.process.tid, last.oom.number, last.oom.trigger) == (7, 41, None)
