# SPDX-License-Identifier: Apache-2.0
"""Conversion of the kernel's clocks and pages to times and sizes."""

from __future__ import annotations

import os
import time

import pytest

from ooMtrace.kernel import snapshot as module
from ooMtrace.kernel.snapshot import SIZES_NS, HostSnapshot, rfc3339, take_snapshot

MOMENT = HostSnapshot(
    realtime=1_700_000_000_000_000_000,
    monotonic=50_000_000_000,
    boottime=80_000_000_000,
    page_size=4096,
    ram=1,
    swap=0,
    swappiness=60,
    nodes=1,
)


@pytest.mark.parametrize(
    ("realtime", "text"),
    [
        (0, "1970-01-01T00:00:00.000000Z"),
        (999, "1970-01-01T00:00:00.000000Z"),
        (1000, "1970-01-01T00:00:00.000001Z"),
        (1_700_000_000_123_456_789, "2023-11-14T22:13:20.123456Z"),
        (1_709_210_096_999_999_999, "2024-02-29T12:34:56.999999Z"),
        (4_102_444_800_000_000_000, "2100-01-01T00:00:00.000000Z"),
        (-1, "1969-12-31T23:59:59.999999Z"),
    ],
)
def test_times_are_utc_with_microseconds(realtime, text):
    assert rfc3339(realtime) == text


def test_each_clock_has_its_own_zero():
    assert MOMENT.from_monotonic(50_000_000_000) == "2023-11-14T22:13:20.000000Z"
    assert MOMENT.from_monotonic(49_999_000_000) == "2023-11-14T22:13:19.999000Z"
    assert MOMENT.from_boottime(80_000_000_000) == "2023-11-14T22:13:20.000000Z"
    assert MOMENT.from_boottime(50_000_000_000) == "2023-11-14T22:12:50.000000Z"


def test_the_clocks_are_read_at_the_same_moment(tmp_path):
    before = time.time_ns(), time.monotonic_ns(), time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    seen = take_snapshot(tmp_path)
    after = time.time_ns(), time.monotonic_ns(), time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    assert before[0] <= seen.realtime <= after[0]
    assert before[1] <= seen.monotonic <= after[1]
    assert before[2] <= seen.boottime <= after[2]
    assert seen.page_size == os.sysconf("SC_PAGE_SIZE")


def test_the_shortest_of_several_clock_readings_counts(tmp_path, monkeypatch):
    class Clock:
        """Every reading takes 10 ns, but the third attempt is the only one that is not interrupted in between."""

        CLOCK_BOOTTIME = time.CLOCK_BOOTTIME
        spent = reads = 0

        def tick(self) -> int:
            self.spent += 10 if self.reads // 4 == 2 or self.reads % 4 != 2 else 1000
            self.reads += 1
            return self.spent

        def monotonic_ns(self) -> int:
            return self.tick()

        def time_ns(self) -> int:
            return 1_000_000 + self.tick()

        def clock_gettime_ns(self, clock: int) -> int:
            assert clock == time.CLOCK_BOOTTIME
            return 2_000_000 + self.tick()

    clock = Clock()
    monkeypatch.setattr(module, "time", clock)

    seen = take_snapshot(tmp_path, tmp_path)

    # The third attempt begins after two of 4 readings, 1030 ns each, and reads at +10, +20, +30 and +40.
    assert (seen.realtime, seen.boottime, seen.monotonic) == (1_002_080, 2_002_090, 2085)
    assert clock.reads == 20


@pytest.mark.parametrize(
    ("content", "nodes"),
    [("0\n", 1), ("0-1\n", 2), ("0-1,4\n", 3), ("0,2,8-11\n", 6), ("1\n", 1), ("\n", None), (None, None)],
)
def test_nodes_that_have_memory_are_counted(tmp_path, content, nodes):
    if content is not None:
        (tmp_path / "devices/system/node").mkdir(parents=True)
        (tmp_path / "devices/system/node/has_memory").write_text(content)

    assert take_snapshot(tmp_path / "proc", tmp_path).nodes == nodes


def test_ram_and_swap_are_counted_in_pages(tmp_path):
    (tmp_path / "meminfo").write_text("MemTotal:       24684092 kB\nMemFree: 1 kB\nSwapTotal:        2097148 kB\n")
    (tmp_path / "sys/vm").mkdir(parents=True)
    (tmp_path / "sys/vm/swappiness").write_text("60\n")

    seen = take_snapshot(tmp_path)

    pages = os.sysconf("SC_PAGE_SIZE") // 1024
    assert (seen.ram, seen.swap, seen.swappiness) == (24684092 // pages, 2097148 // pages, 60)


def test_the_sizes_of_a_storm_are_read_once_and_again_a_moment_later(tmp_path, monkeypatch):
    (tmp_path / "meminfo").write_text("SwapTotal:             0 kB\n")
    monotonic = 7 * SIZES_NS
    monkeypatch.setattr(module, "_clocks", lambda: (0, monotonic, 0))
    first = take_snapshot(tmp_path, tmp_path)

    (tmp_path / "meminfo").write_text("SwapTotal:       1048576 kB\n")
    monotonic += SIZES_NS - 1
    assert take_snapshot(tmp_path, tmp_path).swap == first.swap == 0
    monotonic += 1
    seen = take_snapshot(tmp_path, tmp_path)

    assert seen.swap == (1 << 30) // os.sysconf("SC_PAGE_SIZE")
    assert seen.monotonic == 8 * SIZES_NS


def test_no_swap_is_zero(tmp_path):
    (tmp_path / "meminfo").write_text("SwapTotal:             0 kB\n")

    assert take_snapshot(tmp_path).swap == 0


@pytest.mark.parametrize("content", [None, "", "nonsense\n", "MemTotal: lots\n"])
def test_what_cannot_be_read_is_unknown(tmp_path, content):
    if content is not None:
        (tmp_path / "meminfo").write_text(content)
        (tmp_path / "sys/vm").mkdir(parents=True)
        (tmp_path / "sys/vm/swappiness").write_text(content)

    seen = take_snapshot(tmp_path)

    assert (seen.ram, seen.swap, seen.swappiness) == (None, None, None)
