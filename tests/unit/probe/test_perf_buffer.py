# SPDX-License-Identifier: Apache-2.0
"""The perf buffers: their size, reading without blocking, and CPUs that come online."""

from __future__ import annotations

import os

import pytest

from ooMtrace.probe import perf_buffer
from ooMtrace.probe.perf_buffer import PerfBuffers, buffer_pages


class FakeHotplug:
    def __init__(self) -> None:
        self.cpus: list[int] = []
        self.closed = False

    def fds(self) -> list[int]:
        return [7]

    def new_cpus(self) -> list[int]:
        cpus, self.cpus = self.cpus, []
        return cpus

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def hotplug(monkeypatch):
    fake = FakeHotplug()
    monkeypatch.setattr(perf_buffer, "CpuHotplug", lambda: fake)
    return fake


@pytest.fixture
def buffer(fake_bcc, hotplug):
    opened = PerfBuffers()
    opened.open(fake_bcc.BPF(text=b"", cflags=[]), fake_bcc.lib)
    return opened


@pytest.mark.parametrize(
    ("cpus", "size"), [(1, 1 << 20), (16, 1 << 20), (17, 512 << 10), (64, 256 << 10), (4096, 256 << 10)]
)
def test_each_buffer_has_between_256_kib_and_1_mib(cpus, size):
    assert buffer_pages(cpus) * os.sysconf("SC_PAGE_SIZE") == size


def test_the_file_descriptors_are_those_of_all_cpus_and_of_hotplug(buffer):
    assert buffer.fds() == [1100, 1101, 7]


def test_records_of_all_cpus_are_copied_and_returned_once(fake_bcc, buffer):
    fake_bcc.pending = [(1, b"second"), (0, b"fi\0rst"), (1, b"third")]

    assert buffer.read() == [b"fi\0rst", b"second", b"third"]
    assert buffer.read() == []


def test_lost_records_are_added_up(fake_bcc, buffer):
    assert buffer.lost_records() == 0
    fake_bcc.lose(100, 2)
    fake_bcc.lose(101, 3)

    assert buffer.lost_records() == 5


def test_a_new_cpu_gets_a_buffer(fake_bcc, hotplug, buffer):
    hotplug.cpus = [2]
    fake_bcc.pending = [(2, b"early")]
    assert buffer.read() == []

    assert buffer.fds() == [1100, 1101, 1102, 7]
    assert buffer.read() == [b"early"]
    assert "free" not in fake_bcc.names()


def test_the_dead_buffer_of_a_cpu_that_returns_is_replaced_and_freed_last(fake_bcc, hotplug, buffer):
    hotplug.cpus = [1]
    buffer.read()
    fake_bcc.lose(201, 4)

    assert buffer.fds() == [1100, 1201, 7]
    assert fake_bcc.calls[-2:] == [("open_cpu", 1, buffer_pages(), 1), ("free", 101)]
    assert buffer.lost_records() == 4


def test_a_cpu_that_is_offline_again_is_ignored_and_its_old_buffer_freed(fake_bcc, hotplug, buffer):
    fake_bcc.fail = "open_cpu"
    fake_bcc.pending = [(0, b"record")]
    hotplug.cpus = [1, 2]

    assert buffer.read() == [b"record"]
    assert buffer.fds() == [1100, 7]
    assert fake_bcc.names()[-3:] == ["open_cpu", "free", "open_cpu"]


def test_bcc_before_0_21_is_not_given_wakeup_events(fake_bcc, hotplug):
    fake_bcc.become_older_than_0_21()
    buffer = PerfBuffers()
    buffer.open(fake_bcc.BPF(text=b"", cflags=[]), fake_bcc.lib)
    hotplug.cpus = [0]
    buffer.read()

    assert ("open_cpu", 0, buffer_pages(), None) in fake_bcc.calls
    assert buffer.fds() == [1101, 1200, 7]


def open_two(fake_bcc) -> PerfBuffers:
    """Open the buffer for kills (readers 100 and 101) and one of 64 KiB for each CPU (200 and 201)."""
    buffers = PerfBuffers({"cgroups": 65_535 + os.sysconf("SC_PAGE_SIZE")})
    buffers.open(fake_bcc.BPF(text=b"", cflags=[]), fake_bcc.lib)
    return buffers


def test_each_map_has_its_own_buffers_and_all_are_polled(fake_bcc, hotplug):
    buffers = open_two(fake_bcc)

    pages = 65_536 // os.sysconf("SC_PAGE_SIZE")
    assert buffers.fds() == [1100, 1101, 1200, 1201, 7]
    assert [call for call in fake_bcc.calls if call[0] == "open_cpu"] == [
        *(("open_cpu", cpu, buffer_pages(), 1) for cpu in (0, 1)),
        *(("open_cpu", cpu, pages, 1) for cpu in (0, 1)),
    ]


def test_records_of_another_map_are_not_read_with_the_kills(fake_bcc, hotplug):
    buffers = open_two(fake_bcc)
    fake_bcc.send(100, b"kill")
    fake_bcc.send(201, b"cgroup")

    assert [buffers.read("cgroups"), buffers.read(), buffers.read()] == [[b"cgroup"], [b"kill"], []]


def test_losses_of_another_map_are_not_lost_kills(fake_bcc, hotplug):
    buffers = open_two(fake_bcc)
    fake_bcc.lose(200, 9)
    fake_bcc.lose(101, 1)

    assert [buffers.lost_records(), buffers.lost_records("cgroups")] == [1, 9]


def test_a_new_cpu_gets_a_buffer_of_each_map_whichever_is_read(fake_bcc, hotplug):
    buffers = open_two(fake_bcc)
    hotplug.cpus = [1]
    buffers.read("cgroups")
    fake_bcc.send(301, b"kill")
    fake_bcc.send(401, b"cgroup")
    fake_bcc.lose(401, 1)

    assert buffers.fds() == [1100, 1200, 1301, 1401, 7]
    assert [buffers.read(), buffers.read("cgroups")] == [[b"kill"], [b"cgroup"]]
    assert buffers.lost_records() == 0


def test_after_close_nothing_reads_the_buffers_that_bcc_frees(fake_bcc, hotplug, buffer):
    buffer.close()

    assert hotplug.closed
    with pytest.raises(TypeError):
        buffer.read()
    with pytest.raises(AttributeError):
        buffer.fds()
