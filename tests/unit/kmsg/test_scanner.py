# SPDX-License-Identifier: Apache-2.0
"""The reader of kernel logs under fire: any bytes, any cut, any mixture, and how fast it is."""

from __future__ import annotations

import json
import random
import re
import time
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ooMtrace.kmsg import grammar
from ooMtrace.kmsg.formats import Dated, Json, LogLine, dmesg, kmsg
from ooMtrace.kmsg.report_parser import ReportParser
from ooMtrace.kmsg.scanner import kills
from ooMtrace.kmsg.to_record import Origin, with_seq
from ooMtrace.output.encode import encode
from ooMtrace.record import Cgroup, OomKill, Trigger

CORPUS = Path(__file__).parents[2] / "fixtures/kmsg"
LOGS = [path.read_bytes() for path in sorted(CORPUS.glob("*.log"))]
LINES = [line for log in LOGS for line in log.splitlines(keepends=True)]
ORIGIN = Origin("2026-11-24T04:00:00.000000Z")
LATEST = datetime(2026, 11, 24, 4, tzinfo=timezone.utc)
KILL = "total-vm:4kB, anon-rss:3kB, file-rss:2kB, shmem-rss:1kB, UID:0 pgtables:20kB oom_score_adj:0"


def read(*blocks: bytes) -> list[OomKill]:
    found = list(kills(blocks, ORIGIN, LATEST))
    for kill in found:
        assert encode(with_seq(kill, 1))
    return found


def victims(log: bytes) -> set[int | None]:
    return {kill.process.tid for kill in read(log)}


def named(log: bytes) -> set[int | None]:
    return {int(pid) for pid in re.findall(rb"Kill(?:ed)? process (\d+)", log)}


def facts(found: list[OomKill]) -> list[tuple[object, ...]]:
    return [(kill.process, kill.oom.scope, kill.oom.memcg, kill.oom.group, kill.cgroup, kill.time) for kill in found]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(st.binary(max_size=80), st.sampled_from(LINES)), max_size=40))
def test_any_bytes_are_read(parts):
    read(*parts)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(LOGS), st.data())
def test_any_cut_leaves_only_kills_that_are_in_the_log(log, data):
    start = data.draw(st.integers(0, len(log)))
    end = data.draw(st.integers(start, len(log)))

    assert victims(log[start:end]) <= named(log)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(LOGS), st.lists(st.integers(0, 60_000), max_size=8))
def test_how_the_log_comes_in_blocks_makes_no_difference(log, cuts):
    ends = sorted({min(cut, len(log)) for cut in cuts} | {0, len(log)})
    blocks = [log[start:end] for start, end in pairwise(ends)]

    assert facts(list(kills(blocks, ORIGIN, LATEST))) == facts(read(log))


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(LOGS), st.sampled_from(LOGS), st.randoms(use_true_random=False))
def test_any_interleaving_of_two_logs_invents_no_victim(one, two, dice):
    left, right = one.splitlines(keepends=True), two.splitlines(keepends=True)
    mixed = []
    while left or right:
        mixed.append((left if left and (not right or dice.random() < 0.5) else right).pop(0))

    assert victims(b"".join(mixed)) <= named(one) | named(two)


def test_twenty_thousand_damaged_lines_never_raise():
    dice = random.Random(7)
    interesting = [line for line in LINES if any(mark in line for mark in grammar.MARKS)]
    for _ in range(200):
        block = []
        for _ in range(100):
            line = bytearray(dice.choice(interesting if dice.random() < 0.5 else LINES))
            for _ in range(dice.randint(1, 4)):
                at = dice.randrange(len(line) + 1)
                line[at : at + dice.randint(0, 5)] = bytes(
                    dice.choices(b'0123456789 -:,()[]=\xff\0\n{}"\\', k=dice.randint(0, 5))
                )
            block.append(bytes(line))
        read(b"".join(block))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=15))
def test_no_name_forges_a_kill(name):
    comm = name.replace(b"\0", b"").decode("utf-8", "backslashreplace")
    reader = ReportParser()
    lines = [
        f"{comm} invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0",
        f"CPU: 0 PID: 9 Comm: {comm} Not tainted 6.1.0 #1",
        "[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name",
        f"[      9]     0     9        1        1     4096        0             0 {comm}",
        f"oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/a,task_memcg=/a/b,"
        f"task={comm},pid=9,uid=0",
        f"Memory cgroup out of memory: Killed process 9 ({comm}) {KILL}",
        f"oom_reaper: reaped process 9 ({comm}), now anon-rss:0kB, file-rss:0kB, shmem-rss:0kB",
    ]
    found = [one for i, line in enumerate(lines) for one in reader.feed(LogLine(line, number=i))] + list(reader.drain())

    assert [(killed.number, killed.comm, killed.size["total_vm"]) for one in found for killed in one.kills] == [
        (9, comm, 4)
    ]


@pytest.mark.parametrize(
    "text",
    [
        f"x: Killed process 1 (a) {KILL}",
        f"audit: Out of memory: Killed process 1 (a) {KILL}",
        f"Killed process 1 (a) {KILL} and more",
        "Killed process 1 (a)",
        f"Memory cgroup out of memory: Killed process 1 (a {KILL}",
        "oom_reaper: reaped process 1 (a), now anon-rss:0kB, file-rss:0kB, shmem-rss:0kB",
        "OOM killer enabled.",
        "Out of memory and no killable processes...",
        "Memory cgroup out of memory: OOM victim 1 (a) is already exiting. Skip killing the task",
    ],
)
def test_what_is_not_the_kernels_sentence_is_no_kill(text):
    assert read(f"[    1.000000] {text}\n".encode()) == []


def test_other_peoples_lines_are_not_the_kernels():
    line = f"Killed process 1 (a) {KILL}"

    assert read(f"12,1,1,-;{line}\n".encode()) == []  # written to /dev/kmsg by somebody
    assert read(f"Nov 24 01:02:03 host app[7]: {line}\n".encode()) == []
    assert read(f"Nov 24 01:02:03 host app: {line}\n".encode()) == []
    assert read(f"user  :err   : [    1.000000] {line}\n".encode()) == []
    assert len(read(f"3,1,1,-;{line}\n".encode())) == 1


@pytest.mark.parametrize(
    "comm", ["Killed process ", "Kill process 1", "oom-kill:", "Task in /a", "Tasks in /", "[  1] 1", "memory: usage"]
)
def test_a_name_in_the_kernels_words_costs_its_report_nothing(comm):
    log = (
        f"{comm} invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0\n"
        f"CPU: 0 PID: 9 Comm: {comm} Not tainted 6.1.0 #1\n"
        "[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name\n"
        f"[      9]     0     9        1        1     4096        0             0 {comm}\n"
        "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/a,task_memcg=/a/b,"
        f"task={comm},pid=9,uid=0\n"
        f"Memory cgroup out of memory: Killed process 9 ({comm}) {KILL}\n"
    )
    [kill] = read("".join(f"[    1.000000] {line}\n" for line in log.splitlines()).encode())

    assert kill.process.comm == comm
    assert kill.oom.trigger == Trigger(pid=9, tid=9, comm=comm)
    assert kill.cgroup == Cgroup(path="/a/b")
    assert kill.oom.points
    assert kill.oom.points.total == 2


def test_a_cgroups_name_is_no_header():
    evil = "/a invoked oom-killer: gfp_mask=0xd0, order=0, oom_score_adj=0"
    log = (
        "real invoked oom-killer: gfp_mask=0xd0, order=0, oom_score_adj=0\n"
        f"Task in {evil} killed as a result of limit of {evil}\n"
        f"Memory cgroup stats for {evil}: cache:0KB\n"
        "Memory cgroup out of memory: Kill process 9 (x) score 1 or sacrifice child\n"
        "Killed process 9 (x) total-vm:4kB, anon-rss:3kB, file-rss:2kB\n"
    )
    [kill] = read("".join(f"[    1.000000] {line}\n" for line in log.splitlines()).encode())

    assert kill.oom.trigger == Trigger(comm="real")
    assert kill.cgroup == Cgroup(path=evil)


def test_the_parts_of_a_line_that_was_interrupted_are_put_together():
    log = (
        "[    1.000000] oom-kill:constraint=CONSTRAINT_CPUSET,nodemask=(null)\n"
        "[    1.000001] usb 1-1: new device\n"
        "[    1.000002] ,cpuset=/,mems_allowed=0\n"
        "[    1.000003] ,global_oom,task_memcg=/x,task=a,pid=9,uid=4\n"
        f"[    1.000004] Out of memory: Killed process 9 (a) {KILL}\n"
    )
    [kill] = read(log.encode())

    assert (kill.oom.scope, kill.process.pid) == ("cpuset", 9)
    assert kill.cgroup
    assert kill.cgroup.path == "/x"


@pytest.mark.parametrize(
    ("stamp", "latest", "expected"),
    [
        ("Nov 24 01:02:03", datetime(2026, 11, 24, 4, tzinfo=timezone.utc), "2026-11-24T01:02:03.000000Z"),
        ("Nov 24 05:02:03", datetime(2026, 11, 24, 4, tzinfo=timezone.utc), "2025-11-24T05:02:03.000000Z"),
        ("Dec 31 23:59:59", datetime(2026, 1, 1, 0, 1, tzinfo=timezone.utc), "2025-12-31T23:59:59.000000Z"),
        ("Jan  1 00:00:00", datetime(2026, 1, 1, 0, 1, tzinfo=timezone.utc), "2026-01-01T00:00:00.000000Z"),
        ("Feb 29 12:00:00", datetime(2026, 3, 1, tzinfo=timezone.utc), "2024-02-29T12:00:00.000000Z"),
        ("Feb 30 12:00:00", datetime(2026, 3, 1, tzinfo=timezone.utc), None),
        (
            "Nov 24 01:02:03",
            datetime(2026, 11, 24, 4, tzinfo=timezone(timedelta(hours=2))),
            "2026-11-23T23:02:03.000000Z",
        ),
    ],
)
def test_a_stamp_without_a_year_gets_the_latest_that_is_not_in_the_future(stamp, latest, expected):
    log = f"{stamp} host kernel: Out of memory: Killed process 9 (a) {KILL}\n"
    [kill] = kills([log.encode()], ORIGIN, latest)

    assert kill.time == expected
    assert ("time" in kill.derived) == (expected is not None)


def test_the_year_changes_within_a_log():
    log = "".join(
        f"{stamp} host kernel: Out of memory: Killed process {pid} (a) {KILL}\n"
        for pid, stamp in enumerate(["Dec 31 23:59:59", "Jan  1 00:00:01"], 1)
    )
    latest = datetime(2026, 1, 2, tzinfo=timezone.utc)

    assert [kill.time for kill in kills([log.encode()], ORIGIN, latest)] == [
        "2025-12-31T23:59:59.000000Z",
        "2026-01-01T00:00:01.000000Z",
    ]


def test_kmsg_names_are_unescaped_and_dmesg_says_who_printed():
    assert kmsg(r"6,1,2,-;a\x0ab\xc3\xa9\x5c") == LogLine("a\nbé\\", ktime=2000)
    assert kmsg("6,1,2,-,caller=T9;a") == LogLine("a", ktime=2000, caller="T9")
    assert dmesg("[    1.000002][   C1] a") == LogLine("a", ktime=1_000_002_000, caller="C1")
    assert dmesg("[    1.000002] [  123]     0") == LogLine("[  123]     0", ktime=1_000_002_000)


def test_a_stamp_of_another_month_or_day_is_no_time_and_no_failure():
    dated = Dated(LATEST)

    assert dated.human("[Do Mär 18 18:47:12 2021] a") == LogLine("a", guessed=True)
    assert dated.iso("2026-13-99T99:99:99 a") == LogLine("a", guessed=True)


@pytest.mark.parametrize("digits", [11, 16, 20, 5000])
def test_numbers_that_no_machine_has_are_survived(digits):
    big = "9" * digits
    lines = (CORPUS / "format-kern-log.log").read_text().splitlines()
    for i, line in enumerate(lines):
        for found in re.finditer(r"\d+", line):
            lines[i] = line[: found.start()] + big + line[found.end() :]
            if i % 10 == 0 or "Kill" in line or "oom" in line:
                read("\n".join(lines).encode())
        lines[i] = line
    read(f'{{"MESSAGE":"Killed process 1 (a) {KILL}","__REALTIME_TIMESTAMP":"{big}"}}\n'.encode())
    read(f"9999-12-31T23:59:59-12:00 host kernel: Killed process 1 (a) {KILL}\n".encode())
    read(f"0001-01-01T00:00:00+12:00 host kernel: [{big}.000000] Killed process 1 (a) {KILL}\n".encode())
    list(kills([f"6,1,{big},-;Killed process 1 (a) {KILL}\n".encode()], Origin("x", booted=1), LATEST))


def test_a_group_kill_and_then_others_without_their_headers():
    group = "Tasks in /g are going to be killed due to memory.oom.group set"
    log = [
        (1.0, f"Memory cgroup out of memory: Killed process 1 (a) {KILL}"),
        (1.1, group),
        (1.2, f"Memory cgroup out of memory: Killed process 1 (a) {KILL}"),
        (1.3, f"Memory cgroup out of memory: Killed process 2 (b) {KILL}"),
        (1.4, f"Memory cgroup out of memory: Killed process 3 (c) {KILL}"),  # the first of the next group
        (1.5, group.replace("/g", "/h")),
        (1.6, f"Memory cgroup out of memory: Killed process 4 (d) {KILL}"),
        (9.0, f"Memory cgroup out of memory: Killed process 5 (e) {KILL}"),  # much later: somebody else
    ]
    found = read("".join(f"[{at:12.6f}] {text}\n" for at, text in log).encode())

    assert [(kill.process.tid, kill.oom.verdict, kill.oom.group and kill.oom.group.path) for kill in found] == [
        (1, "killed", "/g"),
        (2, "group_member", "/g"),
        (3, "killed", "/h"),
        (4, "group_member", "/h"),
        (5, "killed", None),
    ]


def noise(size: int) -> bytes:
    lines = [
        f"Nov 24 0{i % 10}:00:{i % 60:02} host kernel: [{i}.{i:06}] audit: type=1400 audit(173240.{i % 1000:03}:{i}): "
        f'apparmor="STATUS" operation="profile_load" name="snap.x.{i}" pid={i} comm="apparmor_parser"\n'
        for i in range(2000)
    ]
    block = "".join(lines).encode()
    return block * (size // len(block) + 1)


QUIET = {"_TRANSPORT": "kernel", "MESSAGE": "veth7: link becomes ready", "_SOURCE_MONOTONIC_TIMESTAMP": "9"}
KILLED = f"Out of memory: Killed process 9 (a\udcff) {KILL}"


@pytest.mark.parametrize("gaps", [(",", ":"), (", ", ": "), (", ", " : ")])
@pytest.mark.parametrize("message", [KILLED.replace("\udcff", "\xff"), [*KILLED.encode(errors="surrogateescape")]])
def test_of_the_journals_json_most_is_passed_over_but_no_kill(gaps, message):
    quiet = json.dumps(QUIET, separators=gaps).encode() + b"\n"
    told = json.dumps({**QUIET, "MESSAGE": message}, separators=gaps, ensure_ascii=False).encode() + b"\n"
    with mock.patch.object(Json, "__call__", autospec=True, side_effect=Json.__call__) as parse:
        found = read(quiet * 4000, told, quiet * 4000)

    assert [kill.process.comm for kill in found] == ["a\xff" if isinstance(message, str) else "a\\xff"]
    assert parse.call_count < 2000


def test_of_the_json_of_dmesg_nothing_is_passed_over_for_the_time_comes_first():
    quiet = '{"dmesg": [' + '{\n"pri": 6,\n"time": 1.000000,\n"msg": "quiet"\n},' * 1000
    told = '{\n"pri": 6,\n"time": 2.000000,\n"msg": "' + KILLED.replace("\udcff", "") + '"\n}]}\n'
    (kill,) = read(quiet.encode(), told.encode())

    assert kill.id == f"log-{2_000_000_000:x}-9"


def test_a_large_log_is_read_fast():
    """A hundred times slower than on an idle machine is still too slow."""
    megabytes = 40
    block = noise(1 << 20)
    started = time.perf_counter()
    found = list(kills((block for _ in range(megabytes)), ORIGIN, LATEST))
    took = time.perf_counter() - started

    assert found == []
    assert megabytes / took > 10


def test_memory_does_not_grow_with_the_log():
    import tracemalloc

    report = (CORPUS / "format-kern-log.log").read_bytes()
    block = report + noise(1 << 19)

    def peak(blocks: int) -> int:
        tracemalloc.start()
        for _ in kills((block for _ in range(blocks)), ORIGIN, LATEST):
            pass
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(12) < 1.5 * peak(3)


def test_a_line_without_end_is_no_danger():
    found = read(*([b"x" * (1 << 19)] * 8), f"\n[    1.000000] Out of memory: Killed process 9 (a) {KILL}\n".encode())

    assert len(found) <= 1
