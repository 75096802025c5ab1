# SPDX-License-Identifier: Apache-2.0
"""Only ASCII has digits that the kernel and log daemons print; those of other scripts are text."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from support.log_kills import kills

from ooMtrace.kmsg.coverage import Coverage
from ooMtrace.kmsg.to_record import Origin

LATEST = datetime(2026, 11, 24, 4, tzinfo=timezone.utc)
SIZES = "total-vm:80000kB, anon-rss:48000kB, file-rss:0kB, shmem-rss:0kB, UID:1000 pgtables:168kB oom_score_adj:0"
KILL = f"Out of memory: Killed process 4242 (hog) {SIZES}"
ARABIC = str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")
PREFIXES = (
    "[  100.100010] ",
    "<3>[  100.100010] ",
    "Mar 16 10:20:30 box1 kernel: ",
    "2026-03-16T10:20:30.123456+00:00 box1 kernel: ",
    "[Mon Mar 16 10:20:30 2026] ",
    "3,123,100100010,-;",
    "1773656430.123456 box1 kernel: ",
    "03-16 10:20:30.123     0     0 W kernel  : ",
    "2026-03-16T10:20:30Z stdout F [  100.100010] ",
    "17: [  100.100010] ",
)


def read(log: str) -> list[int | None]:
    return [kill.process.tid for kill in kills([log.encode()], Origin("2026-11-24T04:00:00.000000Z"), LATEST)]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_prefix_with_digits_of_another_script_has_neither_time_nor_stamp(prefix):
    assert read(f"{prefix}{KILL}\n") == [4242]
    for kill in kills([f"{prefix.translate(ARABIC)}{KILL}\n".encode()], Origin("x"), LATEST):
        assert kill.time is None


@pytest.mark.parametrize("text", [KILL.translate(ARABIC), KILL.replace("4242", "4242".translate(ARABIC))])
def test_a_kill_with_digits_of_another_script_is_none(text):
    assert read(f"[  100.100010] {text}\n") == []


def test_a_size_with_digits_of_another_script_is_no_size():
    coverage = Coverage()
    log = f"[  100.100010] {KILL.replace('80000', '80000'.translate(ARABIC))}\n"
    found = list(kills([log.encode()], Origin("x"), LATEST, coverage))

    assert [kill.process.memory.total_vm for kill in found] in ([], [None])
    assert found or coverage.unrecognized_kills
