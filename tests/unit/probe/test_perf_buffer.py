# SPDX-License-Identifier: Apache-2.0
"""The perf buffers: their size, reading without blocking, and CPUs that come online."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import count

import pytest

from ooMtrace.errors import ProbeError
from ooMtrace.probe import perf_buffer
from ooMtrace.probe.perf_buffer import PerfBuffers, buffer_pages, online_cpus


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


class FakeReader:
    """Numbered 100 + CPU, or the next free one of 200 + CPU etc.; `offline` are the CPUs that cannot be opened."""

    opened: dict[int, FakeReader]
    offline: set[int]
    reason: str
    closed: list[int]

    def __init__(self, cpu: int, pages: int, receive: Callable[[bytes], None], lose: Callable[[int], None]) -> None:
        if cpu in self.offline:
            raise ProbeError(self.reason)
        self.fd = next(number for number in count(100 + cpu, 100) if number not in self.opened)
        self.pages, self.receive, self.lose = pages, receive, lose
        self.pending: list[bytes] = []
        self.opened[self.fd] = self

    def read(self) -> None:
        while self.pending:
            self.receive(self.pending.pop(0))

    def close(self) -> None:
        self.closed.append(self.fd)


class FakeMap:
    def __init__(self) -> None:
        self.values: dict[int, int] = {}

    def update(self, key: bytes, value: bytes) -> None:
        self.values[int.from_bytes(key, "little")] = int.from_bytes(value, "little")


@pytest.fixture
def hotplug(monkeypatch):
    fake = FakeHotplug()
    monkeypatch.setattr(perf_buffer, "CpuHotplug", lambda: fake)
    return fake


@pytest.fixture
def readers(monkeypatch, hotplug):
    FakeReader.opened, FakeReader.offline, FakeReader.closed = {}, set(), []
    FakeReader.reason = "No such device"
    monkeypatch.setattr(perf_buffer, "PerfReader", FakeReader)
    monkeypatch.setattr(perf_buffer, "online_cpus", lambda: [0, 1])
    monkeypatch.setattr(perf_buffer, "perf_error", lambda _: "")
    return FakeReader.opened


@pytest.fixture
def maps():
    return {"events": FakeMap(), "cgroups": FakeMap()}


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def buffers(readers, maps, said):
    """Open the buffer for kills (readers 100 and 101) and one of 64 KiB for each CPU (200 and 201)."""
    opened = PerfBuffers({"cgroups": 65_535 + os.sysconf("SC_PAGE_SIZE")}, said.append)
    opened.open(maps)
    return opened


@pytest.mark.parametrize(
    ("cpus", "size"), [(1, 1 << 20), (16, 1 << 20), (17, 512 << 10), (64, 256 << 10), (4096, 256 << 10)]
)
def test_each_buffer_has_between_256_kib_and_1_mib(cpus, size):
    assert buffer_pages(cpus) * os.sysconf("SC_PAGE_SIZE") == size


@pytest.mark.parametrize(("text", "cpus"), [("0\n", [0]), ("0-2\n", [0, 1, 2]), ("0,2-3,9\n", [0, 2, 3, 9])])
def test_the_online_cpus_are_those_that_the_kernel_lists(tmp_path, text, cpus):
    path = tmp_path / "devices/system/cpu/online"
    path.parent.mkdir(parents=True)
    path.write_text(text)

    assert online_cpus(tmp_path) == cpus


def test_the_cpus_are_counted_where_the_kernel_lists_none(tmp_path):
    assert online_cpus(tmp_path) == list(range(os.cpu_count() or 1))


def test_each_map_has_its_own_buffers_and_all_are_polled(readers, maps, buffers):
    assert buffers.fds() == [100, 101, 200, 201, 7]
    assert [maps["events"].values, maps["cgroups"].values] == [{0: 100, 1: 101}, {0: 200, 1: 201}]
    assert [readers[100].pages, readers[200].pages] == [buffer_pages(), 65_536 // os.sysconf("SC_PAGE_SIZE")]


def test_records_of_all_cpus_are_returned_once_and_not_with_those_of_another_map(readers, buffers):
    readers[101].pending = [b"second"]
    readers[100].pending = [b"first"]
    readers[201].pending = [b"cgroup"]

    assert [buffers.read("cgroups"), buffers.read(), buffers.read()] == [[b"cgroup"], [b"first", b"second"], []]


def test_losses_are_added_up_for_each_map(readers, buffers):
    readers[100].lose(2)
    readers[101].lose(3)
    readers[200].lose(9)

    assert [buffers.lost_records(), buffers.lost_records("cgroups")] == [5, 9]


def test_a_new_cpu_gets_a_buffer_of_each_map_and_a_dead_one_is_freed_last(readers, maps, hotplug, buffers):
    hotplug.cpus = [1, 2]
    buffers.read("cgroups")

    assert buffers.fds() == [100, 301, 102, 200, 401, 202, 7]
    assert maps["events"].values == {0: 100, 1: 301, 2: 102}
    assert FakeReader.closed == [101, 201]


def test_a_cpu_that_is_offline_again_is_ignored_and_its_old_buffer_freed(readers, hotplug, buffers, said, monkeypatch):
    monkeypatch.setattr(perf_buffer, "online_cpus", lambda: [0])
    FakeReader.offline = {1, 2}
    readers[100].pending = [b"record"]
    hotplug.cpus = [1, 2]

    assert buffers.read() == [b"record"]
    assert buffers.fds() == [100, 200, 7]
    assert FakeReader.closed == [101, 201]
    assert said == []


@pytest.mark.parametrize("refused_by", ["kernel", "library"])
def test_a_new_cpu_that_cannot_be_traced_is_reported_once_and_the_others_are_read(
    readers, hotplug, buffers, said, monkeypatch, refused_by
):
    """The first as at kernel.perf_event_paranoid=3 without CAP_SYS_ADMIN, the second as without file descriptors."""
    if refused_by == "kernel":
        monkeypatch.setattr(perf_buffer, "perf_error", {1: "Permission denied"}.get)
    else:
        FakeReader.offline, FakeReader.reason = {1}, "Permission denied"
    readers[100].pending = [b"record"]
    hotplug.cpus = [1]

    assert buffers.read() == [b"record"]
    assert buffers.fds() == [100, 200, 7]
    assert FakeReader.closed == [101, 201]
    assert said == [
        "CPU 1 has come online and cannot be traced (Permission denied): kills on it are read from the kernel log when "
        "something dies on another CPU; restart oomtrace, which traces all CPUs that are online then"
    ]


def test_closing_frees_all_buffers_once(hotplug, buffers):
    buffers.close()
    buffers.close()

    assert FakeReader.closed == [100, 101, 200, 201]
    assert hotplug.closed
