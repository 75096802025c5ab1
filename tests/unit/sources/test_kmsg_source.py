# SPDX-License-Identifier: Apache-2.0
"""The kernel log as a source: reports while they are printed, each kill once and with its number."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.probe_events import HOST, NOW

from ooMtrace.kmsg.boot_log import parse_boot_log
from ooMtrace.kmsg.device import KernelLog
from ooMtrace.kmsg.to_record import Origin
from ooMtrace.sources.kmsg_source import QUIET_NS, KmsgSource

FIXTURES = Path(__file__).parents[2] / "fixtures/kmsg"
BOTH = (FIXTURES / "format-kmsg.log").read_bytes().splitlines(keepends=True)
REPORT = BOTH[2:102]
"""The second of its two kills, with what the kernel printed before it."""

LATER = 1 << 62


class DeliveryLog:
    base: int | None = 40

    def __init__(self) -> None:
        self.noted: list[tuple[int, int | None]] = []

    def record_delivery(self, nth: int, tid: int | None) -> None:
        self.noted.append((nth, tid))


class FakeLog:
    """A kernel log that others append to: /dev/kmsg gives one record for each read."""

    def __init__(self) -> None:
        self.fd, self.gaps, self.ktime = 99, 0, 0
        self.fresh: list[bytes] = []

    def records(self) -> Iterator[bytes]:
        while self.fresh:
            yield self.fresh.pop(0)

    def close(self) -> None:
        self.fd = -1


@pytest.fixture
def log() -> FakeLog:
    return FakeLog()


@pytest.fixture
def source(log: FakeLog) -> KmsgSource:
    return KmsgSource(log, HOST, clock=lambda: replace(NOW, monotonic=log.ktime))  # type: ignore[arg-type]


def test_a_report_is_told_when_it_is_over_and_not_before(source, log):
    delivery_log = DeliveryLog()
    log.ktime = before = time.monotonic_ns()
    for line in REPORT:
        log.fresh.append(line)
        assert list(source.kills(delivery_log)) == []
    assert set(delivery_log.noted) == {(1, 7673)}, "it is not missing while it waits"
    due = source.next_due()
    assert due is not None
    assert due >= before + QUIET_NS
    log.ktime = due
    (kill,) = source.kills(delivery_log)

    assert kill.fidelity == "log"
    assert kill.oom.number == 41
    assert kill.id == f"12345678-41-{kill.process.tid}"
    assert kill.host == HOST
    assert set(delivery_log.noted) == {(1, kill.process.tid)}
    assert source.next_due() is None
    log.ktime = LATER
    assert list(source.kills(delivery_log)) == []


def test_the_timeout_factor_multiplies_how_long_a_report_waits(log):
    slow = KmsgSource(log, HOST, 3.0, clock=lambda: replace(NOW, monotonic=log.ktime))  # type: ignore[arg-type]
    before = time.monotonic_ns()
    log.fresh += REPORT
    assert list(slow.kills(DeliveryLog())) == []
    due = slow.next_due()

    assert due is not None
    assert due >= before + 3 * QUIET_NS


def test_half_a_report_waits_for_its_kill(source, log):
    log.ktime = LATER
    log.fresh += REPORT[: len(REPORT) // 2]
    assert list(source.kills(DeliveryLog())) == []
    assert source.next_due() is None
    log.fresh += REPORT[len(REPORT) // 2 :]
    (kill,) = source.kills(DeliveryLog())

    assert kill.oom.trigger is not None
    assert kill.oom.constraint is not None


def test_no_kill_was_after_it_was_seen(source, log):
    """The kernel's clock, by which the log is stamped, is hours ahead of ours here."""
    log.fresh += REPORT
    (kill,) = source.drain(DeliveryLog())

    assert kill.time == kill.observed
    assert "time" in kill.derived


def test_at_the_end_nothing_waits(source, log):
    log.fresh += REPORT
    (kill,) = source.drain(DeliveryLog())

    assert kill.oom.number == 41


def test_it_counts_before_it_tells(source, log):
    assert source.kill_count() == 0
    log.fresh += REPORT
    assert source.kill_count() == 1
    assert len(list(source.drain(DeliveryLog()))) == 1


def test_where_the_kernel_does_not_count_the_ids_are_times(source, log):
    delivery_log = DeliveryLog()
    delivery_log.base = None
    log.fresh += REPORT
    (kill,) = source.drain(delivery_log)

    assert kill.oom.number is None
    assert kill.id != f"12345678-41-{kill.process.tid}"


def test_records_that_were_overwritten_are_said_to_be_lost(source, log):
    log.gaps = 2

    assert source.lost_records() == 2


def test_noise_is_no_kill(source, log):
    log.fresh += [b"6,1,2,-;eth0: link up\n SUBSYSTEM=net\n", b"13,2,3,-;Killed process 1 (forged)\n", b"damaged\n"]
    delivery_log = DeliveryLog()

    assert list(source.drain(delivery_log)) == []
    assert delivery_log.noted == []
    assert source.kill_count() == 0


def test_a_history_is_numbered_from_its_end():
    found = parse_boot_log(REPORT * 3, Origin("2026-11-24T04:00:00.000000Z", HOST), 17)

    assert [kill.oom.number for kill in found.kills] == [15, 16, 17]
    assert found.before == 14
    assert found.repeat_kills == frozenset()


def group_records() -> list[bytes]:
    records = []
    for place, line in enumerate((FIXTURES / "vm-7.3-group.log").read_bytes().splitlines()):
        text = line.partition(b"] ")[2]
        records.append(b"6,%d,%d,-;%s\n" % (place, place, text))
    return records


def test_a_repeat_kill_is_delivered_without_a_line(source, log):
    log.fresh += group_records()
    delivery_log = DeliveryLog()
    kills = list(source.drain(delivery_log))

    assert len(kills) == 8
    assert [nth for nth, tid in delivery_log.noted if tid is None] == [9]
    assert {nth for nth, _ in delivery_log.noted} == set(range(1, 10))


def test_a_groups_first_victim_dies_twice_in_the_kernels_count():
    records = group_records()
    found = parse_boot_log(records, Origin("2026-11-24T04:00:00.000000Z", HOST), 100)

    killed = [one for one in records if b"Killed process" in one]
    assert len(killed) == 9
    assert found.before == 91
    assert len(found.kills) == 8
    assert len(found.repeat_kills) == 1
    assert {kill.oom.number for kill in found.kills} | found.repeat_kills == set(range(92, 101))


def test_the_log_itself_is_read_record_by_record_from_where_it_was_opened(tmp_path):
    file = tmp_path / "kmsg"
    file.write_bytes(b"before\n")
    log, late = KernelLog(file), KernelLog(file, at_end=True)
    with file.open("ab") as more:
        more.write(b"after\n")

    assert b"".join(log.records()) == b"before\nafter\n"
    assert b"".join(late.records()) == b"after\n"
    for one in (log, late):
        one.close()
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(one.fd)


@pytest.mark.parametrize(
    ("at_end", "reads", "gaps"),
    [
        (False, [BrokenPipeError, b"1\n", b"2\n"], 0),
        (False, [b"1\n", BrokenPipeError, b"2\n", BrokenPipeError, b"3\n"], 2),
        (True, [BrokenPipeError, b"1\n"], 1),
    ],
)
def test_what_is_overwritten_behind_what_was_read_is_a_gap(tmp_path, monkeypatch, at_end, reads, gaps):
    """What is overwritten at the beginning is just older than the log."""
    (tmp_path / "kmsg").touch()
    log = KernelLog(tmp_path / "kmsg", at_end=at_end)
    answers = iter([*reads, BlockingIOError])

    def read(_fd: int, _size: int) -> bytes:
        answer = next(answers)
        if isinstance(answer, bytes):
            return answer
        raise answer

    monkeypatch.setattr("ooMtrace.kmsg.device.os.read", read)

    assert list(log.records()) == [one for one in reads if isinstance(one, bytes)]
    assert log.gaps == gaps
    log.close()
