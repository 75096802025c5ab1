# SPDX-License-Identifier: Apache-2.0
"""What the kernel log may do to its reader: other writers, mixed reports, kills while it is read."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import pytest
from support.log_kills import kills
from support.probe_events import HOST

from ooMtrace.kmsg import boot_log
from ooMtrace.kmsg.boot_log import read_boot_log
from ooMtrace.kmsg.formats import kmsg
from ooMtrace.kmsg.to_record import Origin
from ooMtrace.record import OomKill

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


HEADER = "x invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0"
KILLED = f"Memory cgroup out of memory: {KILL}, UID:0 pgtables:20kB oom_score_adj:0"


def read(*lines: tuple[float, str]) -> list[OomKill]:
    log = "".join(f"[{seconds:12.6f}] {text}\n" for seconds, text in lines)
    return list(kills((log.encode(),), Origin(""), datetime(2026, 11, 24, tzinfo=timezone.utc)))


def test_a_line_of_an_earlier_boot_belongs_to_no_report():
    (kill,) = read((1000, HEADER), (1000.5, KILLED))
    assert kill.oom.trigger is not None

    (kill,) = read((1000, HEADER), (5, KILLED))
    assert kill.oom.trigger is None


def test_a_report_goes_on_as_long_as_its_own_lines_follow_within_seconds():
    (kill,) = read((1000, HEADER), (1003, "Mem-Info:"), (1006, KILLED))
    assert kill.oom.trigger is not None

    (kill,) = read((1000, HEADER), (1002, "eth0: link up"), (1004, "eth0: link down"), (1006, KILLED))
    assert kill.oom.trigger is None


def report(stats: str, memcg: str) -> list[OomKill]:
    summary = (
        f"oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg={memcg},"
        f"task_memcg={memcg},task=x,pid=7,uid=0"
    )
    return read((1, HEADER), (1, f"Memory cgroup stats for {stats}:"), (1, summary), (1, KILLED))


def test_a_report_whose_parts_name_two_cgroups_is_not_believed():
    (kill,) = report("/a", "/a")
    assert kill.oom.memcg is not None
    assert kill.oom.memcg.path == "/a"

    (kill,) = report("/b", "/a")
    assert kill.oom.memcg is None
    assert kill.oom.verdict is None


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
