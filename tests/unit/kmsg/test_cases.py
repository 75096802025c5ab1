# SPDX-License-Identifier: Apache-2.0
"""Small logs, each with one difficulty: a report gets no fact of another one, and no number that cannot be."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from support.log_kills import kills

from ooMtrace.kmsg.to_record import Origin, with_seq
from ooMtrace.output.encode import plain
from ooMtrace.record import Host
from ooMtrace.record.json_schema import json_schema

CASES = Path(__file__).parents[2] / "fixtures/kmsg-cases"
TEXTS = {path.stem: path for path in sorted(CASES.glob("*.txt"))}
ORIGIN = Origin("2026-11-24T04:00:00.000000Z")
LATEST = datetime(2026, 11, 24, 4, tzinfo=timezone.utc)
MIB_50 = 50 << 20


def read(name: str) -> list[Any]:
    return [plain(with_seq(kill, 1)) for kill in kills([TEXTS[name].read_bytes()], ORIGIN, LATEST)]


def read_log(*lines: str) -> list[Any]:
    return [plain(with_seq(kill, 1)) for kill in kills(["\n".join(lines).encode()], ORIGIN, LATEST)]


def fact(line: Any, name: str) -> Any:
    for part in name.split("."):
        line = line.get(part) if isinstance(line, dict) else None
    return line


BOX = {
    "oom.scope": "memcg",
    "oom.verdict": "killed",
    "oom.memcg.path": "/box",
    "oom.memcg.usage": MIB_50,
    "oom.memcg.limit": MIB_50,
    "oom.limit_bytes": MIB_50,
}
HEADER_FACTS = dict.fromkeys(("oom.trigger", "oom.order", "oom.gfp_mask", "host.kernel"))
SWAPPED = {
    "process.memory.swap": 6258065408,
    "oom.points.page_tables": 16601,
    "oom.points.total": 6701512,
    "oom.limit_bytes": 12206080000,
}
FACTS: dict[str, dict[str, Any]] = {
    "ok-01": {**BOX, "oom.constraint": "CONSTRAINT_MEMCG", "cgroup.path": "/box", "oom.trigger.pid": 4242},
    "fault-01": {
        **BOX,
        "oom.constraint": None,
        "cgroup.path": "/box",
        "oom.trigger.pid": 4242,
        "process.user.id": 1000,
    },
    "fault-02": {"oom.scope": None, "oom.constraint": None, "oom.limit_bytes": None},
    "ok-03": SWAPPED,
    "fault-03": SWAPPED,
    "fault-04b": {**BOX, "cgroup.path": "/box/a"},
    "fault-05": {**SWAPPED, "oom.limit_bytes": None},
    "fault-06": {**HEADER_FACTS, "oom.scope": "memcg", "oom.memcg.path": "/b"},
    "fault-06c": {**HEADER_FACTS, "oom.memcg.usage": None, "oom.memcg.limit": None, "oom.limit_bytes": None},
    "fault-06d": {**HEADER_FACTS, "oom.memcg": None, "cgroup": None, "oom.scope": "memcg"},
    "fault-08": {**BOX, "oom.memcg.swap_limit": 0, "oom.memcg.version": 2},
    "fault-10c": {**HEADER_FACTS, "host.name": "hostb", "process.tid": 222, "oom.memcg": None},
}


@pytest.mark.parametrize("name", FACTS)
def test_a_record_has_the_facts_of_its_own_report_only(name):
    [line] = read(name)

    assert {key: fact(line, key) for key in FACTS[name]} == FACTS[name]


def test_a_host_is_not_out_of_memory_if_the_constraint_is_unknown():
    assert "the host is out of memory" not in read("fault-02")[0]["message"]


@pytest.mark.parametrize("name", ["fault-07", "fault-07b", "ok-07"])
def test_a_later_kill_is_not_a_member_of_a_group(name):
    *group, single = read(name)

    assert [fact(line, "oom.group") for line in group] == [{"path": "/a", "size": len(group)}] * len(group)
    assert (fact(single, "process.tid"), fact(single, "oom.verdict"), fact(single, "oom.group")) == (
        *(4242, "killed", None),
    )


def test_a_group_ends_where_the_reason_of_the_kill_changes():
    sizes = "total-vm:4kB, anon-rss:3kB, file-rss:2kB, shmem-rss:1kB, UID:0 pgtables:20kB oom_score_adj:0"
    first, second = read_log(
        f"[    1.000001] Memory cgroup out of memory: Killed process 11 (a) {sizes}",
        "[    1.000002] Tasks in /a are going to be killed due to memory.oom.group set",
        f"[    1.000003] Out of memory: Killed process 12 (b) {sizes}",
    )

    assert (first["oom"]["group"]["size"], fact(second, "oom.group")) == (1, None)


def test_each_host_has_its_own_facts():
    for line, name, path, pid in zip(read("fault-10"), ("hosta", "hostb"), ("/a", "/b"), (111, 222), strict=True):
        assert (line["host"]["name"], line["oom"]["memcg"]["path"]) == (name, path)
        assert line["process"]["pid"] == line["oom"]["trigger"]["pid"] == pid


def test_lines_without_the_rest_of_the_kill_give_a_record_with_what_they_have():
    lines = {fact(line, "process.pid") or fact(line, "process.tid"): line for line in read("fault-09")}

    assert set(lines) == {4242, 4243, 4244, 4245}
    assert {fact(line, "process.comm") for line in lines.values()} == {"hog"}
    assert fact(lines[4242], "oom.memcg.path") == fact(lines[4242], "cgroup.path") == "/box"
    assert fact(lines[4242], "process.user.id") == 1000
    assert [fact(lines[pid], "oom.scope") for pid in (4243, 4244, 4245)] == ["memcg", None, "memcg"]
    assert lines[4245]["process"]["memory"] == {"anon": 48000 << 10, "total_vm": 80000 << 10}
    assert [fact(lines[pid], "oom.verdict") for pid in (4242, 4243, 4244)] == [None, None, "killed"]
    for line in lines.values():
        assert {"oom.trigger", "oom.gfp_mask", "oom.points"} <= set(line["missing"])


@pytest.mark.parametrize(
    ("end", "comm", "memory"),
    [
        (
            " total-vm:4kB, anon-rss:3kB, file-rss:2kB, shmem-rss:1",
            "hog",
            {"total_vm": 4096, "anon": 3072, "file": 2048},
        ),
        (" total-vm:4kB, anon-rss:3kB, file-rss:2kB, shmem-rss:1kB, UID:1", "hog", None),
        (" total-vm:4kB, an", "hog", {"total_vm": 4096}),
        (" total-vm:4kB,", "hog", {"total_vm": 4096}),
        (" tot", None, {}),
        ("", "hog", {}),
    ],
)
def test_a_truncated_kill_has_the_numbers_that_are_complete(end, comm, memory):
    [line] = read_log(f"[    1.000000] Out of memory: Killed process 9 (hog){end}")

    assert fact(line, "process.comm") == comm
    assert memory is None or (fact(line, "process.memory") or {}) == memory


@pytest.mark.parametrize("name", ["a) total-vm:9kB", ") total-vm:9kB,", "hog) tot"])
def test_a_truncated_kill_reads_no_size_from_what_may_be_a_name(name):
    for end in range(len(name) + 1):
        for line in read_log(f"[    1.000000] Out of memory: Killed process 9 ({name[:end]}"):
            assert fact(line, "process.memory") is None


KILL = "Out of memory: Killed process 9 (a) total-vm:4kB, anon-rss:3kB, file-rss:2kB"
SUMMARY = "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/a,task_memcg=/a,"


CHOICE = "Memory cgroup out of memory: Kill process 9 (a) score 1 or sacrifice child"
OTHER = "[    1.000001] b invoked oom-killer: gfp_mask=0xcc0, order=0, oom_score_adj=0"


@pytest.mark.parametrize("between", [(), (OTHER,)])
@pytest.mark.parametrize(("chosen", "pid"), [(f"{SUMMARY}task=a,pid=9,uid=0", 9), (CHOICE, 9), (CHOICE, 10)])
def test_a_kill_that_follows_its_choice_is_one_record(chosen, pid, between):
    lines = read_log(
        f"[    1.000000] {chosen}",
        *between,
        f"[    1.000002] Killed process {pid} (a) total-vm:4kB, anon-rss:3kB, file-rss:2kB",
    )

    assert [line["process"]["tid"] for line in lines] == [pid]


def test_each_of_several_lone_summaries_is_a_kill():
    lines = read_log(*(f"[    1.00000{pid}] {SUMMARY}task=a,pid={pid},uid=0" for pid in (1, 2, 3)))

    assert [line["process"]["pid"] for line in lines] == [1, 2, 3]
    assert {fact(line, "cgroup.path") for line in lines} == {"/a"}


def test_a_choice_in_the_log_of_the_running_kernel_is_no_kill_yet():
    log = f"[    1.000000] {SUMMARY}task=a,pid=9,uid=0\n".encode()

    assert not list(kills([log], Origin(ORIGIN.observed, Host(name="box1")), LATEST))


def test_a_boot_ends_all_reports():
    header = "a invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0"
    [joined] = read_log(header, "usb 1-1: new device", KILL)
    [separate] = read_log(header, "Linux version 6.1.0-9-amd64", KILL)

    assert fact(joined, "oom.trigger.comm") == "a"
    assert fact(separate, "oom.trigger") is None


@pytest.mark.parametrize(("minutes", "comm"), [(0, "a"), (5, None)])
def test_wall_time_counts_beside_the_clock_of_the_kernel(minutes, comm):
    """The same time since boot, but of another boot."""
    header = "a invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0"
    [line] = read_log(
        f"Mar  5 10:00:00 box1 kernel: [    1.000000] {header}",
        f"Mar  5 10:{minutes:02}:09 box1 kernel: [    2.000000] {KILL}",
    )

    assert fact(line, "oom.trigger.comm") == comm


def test_lines_of_a_later_table_do_not_change_a_report_with_a_kill():
    columns = "[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name"
    row = "[      9]     0     9        1        {}     4096        0             0 a"
    [line] = read_log(
        columns, row.format(5), f"{SUMMARY}task=a,pid=9,uid=0", f"Memory cgroup o{KILL[1:]}", row.format(7)
    )

    assert fact(line, "oom.points.rss") == 5


def test_a_victim_that_was_exiting_already_is_no_kill():
    assert not read_log(
        f"[    1.000000] {SUMMARY}task=a,pid=9,uid=0",
        "[    1.000001] Memory cgroup out of memory: OOM victim 9 (a) is already exiting. Skip killing the task",
    )


def test_a_counter_that_wrapped_around_is_absent():
    [line] = read_log(
        "[    1.000000] Out of memory: Killed process 9 (a) total-vm:4kB, anon-rss:18446744073709551612kB,"
        " file-rss:2kB, shmem-rss:1kB, UID:0 pgtables:20kB oom_score_adj:0"
    )

    assert line["process"]["memory"] == {"file": 2048, "shmem": 1024, "page_tables": 20480, "total_vm": 4096}


@pytest.mark.parametrize(
    "lines",
    [
        (
            f"2026-03-16T10:20:30+00:00 web-prod-1 kernel: {KILL}",
            f"2026-03-16T10:20:30+00:00 web-prod-2 kernel: {KILL}",
        ),
        (f"Mar  5 10:00:00 box1 kernel: [    1.000000] {KILL}", f"Mar  6 10:00:00 box1 kernel: [    1.000000] {KILL}"),
        (f"[    1.000000] {KILL}", f"[    1.000000] {KILL.replace('3kB', '4kB')}"),
    ],
)
def test_ids_of_hosts_boots_and_files_differ(lines):
    found = [kill for line in lines for kill in read_log(line)]

    assert len({kill["id"] for kill in found}) == len({kill["oom"]["incident"] for kill in found}) == 2
    assert [kill["id"] for kill in read_log(*lines)] == [kill["id"] for kill in found]


@pytest.mark.parametrize("name", TEXTS)
def test_every_line_satisfies_the_schema(name):
    validator = jsonschema.Draft202012Validator(json_schema())
    for line in read(name):
        validator.validate(line)
