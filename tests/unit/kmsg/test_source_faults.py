# SPDX-License-Identifier: Apache-2.0
"""What the kernel log may do to its reader: other writers, overwritten records, kills while it is read."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from support.probe_events import HOST

from ooMtrace.kmsg import boot_log, device
from ooMtrace.kmsg.boot_log import read_boot_log
from ooMtrace.kmsg.device import KernelLog
from ooMtrace.kmsg.formats import kmsg

KILL = "Killed process 7 (x) total-vm:1kB, anon-rss:1kB, file-rss:0kB, shmem-rss:0kB"


@pytest.mark.parametrize("priority", [8, 9, 11, 4294967295])
def test_what_a_user_writes_into_the_kernel_log_is_no_line_of_the_kernel(priority):
    assert kmsg(f"{priority},1,1000000,-;{KILL}") is None


@pytest.mark.parametrize("priority", [0, 3, 7])
def test_what_the_kernel_writes_is(priority):
    line = kmsg(f"{priority},1,1000000,-;{KILL}")

    assert line is not None
    assert line.text == KILL
    assert line.ktime == 1_000_000_000


def kernel_log(monkeypatch: pytest.MonkeyPatch, *reads: bytes | type[OSError]) -> None:
    """Let /dev/kmsg answer each read with the next of these, and then with nothing more."""
    left = list(reads)

    def read(_fd: int, _size: int) -> bytes:
        answer = left.pop(0) if left else BlockingIOError
        if isinstance(answer, bytes):
            return answer
        raise answer

    monkeypatch.setattr(device.os, "read", read)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "kmsg").touch()
    return tmp_path / "kmsg"


def test_records_that_were_overwritten_before_the_first_was_read_are_no_gap(monkeypatch, path):
    kernel_log(monkeypatch, BrokenPipeError, b"first\n", b"second\n")
    log = KernelLog(path)

    assert list(log.records()) == [b"first\n", b"second\n"]
    assert log.gaps == 0


def test_records_that_were_overwritten_later_are_a_gap(monkeypatch, path):
    kernel_log(monkeypatch, b"first\n", BrokenPipeError, b"fifth\n")
    log = KernelLog(path)

    assert list(log.records()) == [b"first\n", b"fifth\n"]
    assert log.gaps == 1


def test_a_log_opened_at_its_end_has_a_gap_from_the_first_record_on(monkeypatch, path):
    kernel_log(monkeypatch, BrokenPipeError, b"fifth\n")
    log = KernelLog(path, at_end=True)

    assert list(log.records()) == [b"fifth\n"]
    assert log.gaps == 1


def test_a_closed_log_leaves_no_descriptor(path):
    log = KernelLog(path)
    log.close()

    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(log.fd)


class FakeKernel:
    """A kernel whose log is read by these, one after the other, while its count goes on as `counts` says."""

    def __init__(self, counts: list[int], gaps: list[int]) -> None:
        self.counts, self.all_gaps = counts, gaps
        self.opened = self.closed = 0

    def read_kill_count(self, _proc: Path) -> int:
        return self.counts.pop(0)

    def open(self, _path: Path) -> FakeKernel:
        self.opened += 1
        self.gaps = self.all_gaps.pop(0)
        return self

    def records(self) -> list[bytes]:
        return [f"3,1,1000000,-;{KILL}\n".encode()]

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[int], list[int]], FakeKernel]:
    def make(counts: list[int], gaps: list[int]) -> FakeKernel:
        kernel = FakeKernel(counts, gaps)
        monkeypatch.setattr(boot_log, "read_kill_count", kernel.read_kill_count)
        monkeypatch.setattr(boot_log, "KernelLog", kernel.open)
        return kernel

    return make


def test_a_kill_while_the_log_is_read_has_it_read_again(fake):
    kernel = fake([5, 6, 6, 6], [0, 0])
    log = read_boot_log(HOST)

    assert log is not None
    assert [kill.oom.number for kill in log.kills] == [6]
    assert log.before == 5
    assert kernel.opened == kernel.closed == 2


def test_a_log_that_is_overwritten_while_it_is_read_is_read_again(fake):
    kernel = fake([5, 5, 5, 5], [1, 0])
    log = read_boot_log(HOST)

    assert log is not None
    assert [kill.oom.number for kill in log.kills] == [5]
    assert kernel.opened == 2
