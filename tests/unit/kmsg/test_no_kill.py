# SPDX-License-Identifier: Apache-2.0
"""OOMs that ended without a kill, in the words of many kernels."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from ooMtrace.kmsg.scanner import records
from ooMtrace.kmsg.to_record import Origin, with_seq
from ooMtrace.output.encode import encode, plain
from ooMtrace.record import OomKill, OomNoKill

LATEST = datetime(2026, 11, 24, 4, tzinfo=timezone.utc)
OBSERVED = "2026-11-24T04:00:00.000000Z"
ORIGIN = Origin(OBSERVED)
CORPUS = Path(__file__).parents[2] / "fixtures/kmsg"
HEADER = "hog invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=2, oom_score_adj=-1000"
HEADER_419 = HEADER.replace("order", "nodemask=(null), order")
SYSRQ = HEADER.replace("order=2", "order=-1")
STACK = "CPU: 0 UID: 0 PID: 321 Comm: hog Not tainted 6.12.1 #1 Debian"
USAGE = "memory: usage 51200kB, limit 51200kB, failcnt 39"
SWAP = "swap: usage 0kB, limit 0kB, failcnt 0"
STATS = ("Memory cgroup stats for /box:", "anon 51200000", "file 0", "pgfault 17")
TABLE = (
    "Tasks state (memory values in pages):",
    "[  pid  ]   uid  tgid total_vm      rss rss_anon rss_file rss_shmem pgtables_bytes swapents oom_score_adj name",
    "[    321]     0   321    20000    12500    12500        0         0    45056        0         -1000 hog",
    "[    322]     0   322    20000    13000    13000        0         0    45056        1         -1000 other",
)
NOBODY = "Out of memory and no killable processes..."
PANIC = "Kernel panic - not syncing: "
DEADLOCK = f"{PANIC}System is deadlocked on memory"
SYSTEM_WIDE = f"{PANIC}Out of memory: system-wide panic_on_oom is enabled"
COMPULSORY = f"{PANIC}Out of memory: compulsory panic_on_oom is enabled"
KILL = (
    "Memory cgroup out of memory: Killed process 9 (a) total-vm:40kB, anon-rss:20kB, file-rss:0kB, shmem-rss:0kB,"
    " UID:0 pgtables:4kB oom_score_adj:0"
)


def read(*texts: str, origin: Origin = ORIGIN, step: int = 1) -> list[OomKill | OomNoKill]:
    log = "".join(f"[{1 + at * step / 1e6:12.6f}] {text}\n" for at, text in enumerate(texts))
    return list(records([log.encode()], origin, LATEST))


def no_kill(*texts: str, origin: Origin = ORIGIN) -> dict[str, Any]:
    """Return the line of the only OOM in a log, which has no kill."""
    [found] = read(*texts, origin=origin)
    assert isinstance(found, OomNoKill)
    line: dict[str, Any] = json.loads(encode(with_seq(found, 1)))
    return line


def test_the_report_of_a_memory_cgroup_without_a_killable_process(validate):
    line = no_kill(HEADER, STACK, USAGE, SWAP, *STATS, *TABLE, NOBODY, origin=Origin(OBSERVED, page=4096))

    validate(line)
    assert (line["event"], line["severity"], line["fidelity"]) == ("oom_no_kill", "ERROR", "log")
    assert line["message"] == (
        "the kernel's OOM killer found no process that it may kill: memory cgroup /box reached its limit of 50.0 MiB"
    )
    oom = line["oom"]
    assert oom.pop("incident") != line["id"]
    assert oom == {
        "reason": "no_killable_process",
        "scope": "memcg",
        "gfp_mask": {"raw": "0xcc0", "flags": ["GFP_KERNEL"]},
        "order": 2,
        "limit_bytes": 52428800,
        "trigger": {"pid": 321, "tid": 321, "comm": "hog"},
        "memcg": {
            "path": "/box",
            "version": 2,
            "usage": 52428800,
            "limit": 52428800,
            "swap": 0,
            "swap_limit": 0,
            "stat": {"anon": 51200000, "file": 0, "pgfault": 17},
        },
        "candidates": [
            {"pid": 322, "comm": "other", "oom_score_adj": -1000, "memory": (13000 + 1 + 11) * 4096},
            {"pid": 321, "comm": "hog", "oom_score_adj": -1000, "memory": (12500 + 11) * 4096},
        ],
    }
    assert line["derived"] == ["oom.scope", "oom.limit_bytes", "oom.candidates"]
    assert {"time", "oom.constraint", "oom.memcg.events"} <= set(line["missing"])
    assert not {"oom.points", "oom.number", "process"} & set(line["missing"])


@pytest.mark.parametrize(
    ("texts", "reason", "scope", "path"),
    [
        # 4.19 and 4.20 (mm/memcontrol.c): no "Task in"
        ((HEADER_419, "Memory limit reached of cgroup /box", USAGE, NOBODY), "no_killable_process", "memcg", "/box"),
        # 5.0 to 5.2: one line for each cgroup
        (
            (HEADER, USAGE, "Memory cgroup stats for /box: cache:4KB rss:8KB", NOBODY),
            "no_killable_process",
            "memcg",
            "/box",
        ),
        ((HEADER, USAGE, SWAP, *STATS, NOBODY), "no_killable_process", "memcg", "/box"),
        ((HEADER, "Mem-Info:", NOBODY, DEADLOCK), "no_killable_process", None, None),
        ((HEADER, "Mem-Info:", DEADLOCK), "no_killable_process", None, None),
        # until 4.18 only the host
        (
            (HEADER_419, "hog cpuset=/ mems_allowed=0", "Mem-Info:", PANIC + NOBODY),
            "no_killable_process",
            "global",
            None,
        ),
        (
            (SYSRQ, "Mem-Info:", NOBODY, "sysrq: OOM request ignored. No task eligible"),
            "no_killable_process",
            "sysrq",
            None,
        ),
        ((SYSRQ, "Mem-Info:", "sysrq: OOM request ignored. No task eligible"), "no_killable_process", "sysrq", None),
        ((HEADER, "Mem-Info:", SYSTEM_WIDE), "panic", "global", None),
        ((HEADER, "Mem-Info:", COMPULSORY), "panic", None, None),
        ((HEADER, USAGE, *STATS, COMPULSORY), "panic", "memcg", "/box"),
        ((HEADER, "Mem-Info:", f"{SYSTEM_WIDE}\n", f"---[ end {SYSTEM_WIDE} ]---"), "panic", "global", None),
        ((HEADER, "Mem-Info:", f"{PANIC}out of memory. panic_on_oom is selected"), "panic", None, None),
        ((HEADER, f"{PANIC}out of memory. Compulsory panic_on_oom is selected."), "panic", None, None),
        ((USAGE, SWAP, *STATS, NOBODY), "no_killable_process", "memcg", "/box"),  # the beginning is cut off
    ],
)
def test_the_last_line_says_why_nothing_was_killed(texts, reason, scope, path):
    oom = no_kill(*texts)["oom"]

    assert oom["reason"] == reason
    assert oom.get("scope") == scope
    assert oom.get("memcg", {}).get("path") == path


@pytest.mark.parametrize(
    "texts",
    [
        (NOBODY,),
        (HEADER, "Mem-Info:", f"a {NOBODY}"),
        (HEADER, "Mem-Info:", f"{NOBODY} really"),
        (HEADER, "Mem-Info:", "OOM request ignored. No task eligible"),  # not by sysrq
        (HEADER, "Mem-Info:", f"{PANIC}Attempted to kill init! exitcode=0x00000009"),
        (HEADER, "Mem-Info:", f"---[ end {SYSTEM_WIDE} ]---"),
    ],
)
def test_other_lines_end_no_report(texts):
    assert read(*texts) == []


def test_a_report_that_follows_has_none_of_the_facts():
    first, second = read(HEADER, USAGE, *STATS, NOBODY, KILL)

    assert isinstance(first, OomNoKill)
    assert isinstance(second, OomKill)
    assert second.oom.trigger is None
    assert second.oom.memcg is None
    assert first.oom.incident != second.oom.incident


def test_reports_in_a_row_are_events_of_their_own():
    report = (HEADER, USAGE, *STATS, NOBODY)
    found = read(*report * 3, KILL, *report)

    assert [each.event for each in found] == ["oom_no_kill"] * 3 + ["oom_kill", "oom_no_kill"]
    assert len({each.id for each in found}) == len({each.oom.incident for each in found}) == 5


def test_the_end_of_a_lost_report_has_none_of_the_facts_of_a_report_with_a_victim():
    summary = "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),oom_memcg=/a,task_memcg=/a,task=a,pid=9,uid=0"
    *_, last = read(HEADER, USAGE, summary, NOBODY, KILL)
    [end] = [each for each in read(HEADER, USAGE, summary, NOBODY, KILL) if isinstance(each, OomNoKill)]

    assert end.oom.trigger is None
    assert end.oom.memcg is None
    assert isinstance(last, OomKill)


def test_a_late_end_is_not_of_the_report():
    assert read(HEADER, USAGE, NOBODY, step=6_000_000) == []


def test_mixed_reports_keep_only_the_end():
    line = no_kill(HEADER, USAGE, USAGE, *STATS, NOBODY)

    assert line["oom"].keys() == {"incident", "reason"}


def test_with_panic_on_oom_the_candidates_have_points_if_the_page_is_known():
    rows = (*TABLE[:2], TABLE[3].replace("-1000", "    0"), TABLE[2])
    blocks = "Node 0 DMA: 1*16kB (U) 0*32kB = 16kB"
    line = no_kill(HEADER, "Mem-Info:", blocks, *rows, SYSTEM_WIDE)

    assert line["oom"]["candidates"] == [
        {"pid": 322, "comm": "other", "points": 13003, "oom_score_adj": 0, "memory": 13003 * 16384},
        {"pid": 321, "comm": "hog", "oom_score_adj": -1000, "memory": 12502 * 16384},
    ]


def test_what_is_swapped_out_counts_for_the_order_of_processes():
    swapped = TABLE[2].replace("        0         -1000", "      900         -1000")
    line = no_kill(HEADER, USAGE, *STATS, *TABLE[:2], swapped, TABLE[3], NOBODY)

    assert [each["pid"] for each in line["oom"]["candidates"]] == [321, 322]


def test_without_a_killable_process_none_has_points():
    rows = (*TABLE[:2], TABLE[2].replace("-1000", "    0"))
    line = no_kill(HEADER, USAGE, *STATS, *rows, NOBODY, origin=Origin(OBSERVED, page=4096))

    [candidate] = line["oom"]["candidates"]
    assert (candidate["oom_score_adj"], candidate["memory"]) == (0, (12500 + 11) * 4096)
    assert "points" not in candidate


def test_the_real_report_of_a_panic():
    [found] = records([(CORPUS / "sgx-6.x-nobody-killable.log").read_bytes()], ORIGIN, LATEST)

    assert isinstance(found, OomNoKill)
    oom = plain(found.oom)
    assert oom["reason"] == "no_killable_process"
    assert [each["comm"] for each in oom["candidates"]] == ["systemd-udevd", "test_sgx"]


def test_the_real_report_of_a_memory_cgroup():
    log = (CORPUS / "vm-6.1-no-kill.log").read_bytes()
    [found] = records([log], ORIGIN, LATEST)

    assert isinstance(found, OomNoKill)
    oom = plain(found.oom)
    assert (oom["reason"], oom["scope"], oom["limit_bytes"]) == ("no_killable_process", "memcg", 16 << 20)
    assert (oom["memcg"]["path"], oom["memcg"]["usage"], oom["trigger"]["comm"]) == ("/no_kill-1", 16 << 20, "python")
    assert oom["memcg"]["stat"]["shmem"] > 8 << 20
    assert [each["oom_score_adj"] for each in oom["candidates"]] == [-1000]
    assert found.host.kernel == "6.1.0-50-cloud-amd64"
