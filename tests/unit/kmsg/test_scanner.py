# SPDX-License-Identifier: Apache-2.0
"""The scanner of kernel logs: any bytes, any cut, any mixture, and how fast it is."""

from __future__ import annotations

import json
import random
import re
import time
from datetime import datetime, timezone
from itertools import pairwise
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.log_kills import kills

from ooMtrace.kmsg import detect, grammar
from ooMtrace.kmsg.journal import parse_json
from ooMtrace.kmsg.to_record import Origin, with_seq
from ooMtrace.output.encode import encode
from ooMtrace.record import OomKill

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
    return {kill.process.tid or kill.process.pid for kill in read(log)}


def named(log: bytes) -> set[int | None]:
    return {int(pid) for pid in re.findall(rb"(?:Kill(?:ed)? process |,pid=)(\d+)", log)}


def facts(found: list[OomKill]) -> list[tuple[object, ...]]:
    return [(kill.process, kill.oom.scope, kill.oom.memcg, kill.oom.group, kill.cgroup, kill.time) for kill in found]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(st.binary(max_size=80), st.sampled_from(LINES)), max_size=40))
def test_any_bytes_can_be_scanned(parts):
    read(*parts)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(LOGS), st.data())
def test_any_cut_leaves_only_kills_that_are_in_the_log(log, data):
    start = data.draw(st.integers(0, len(log)))
    end = data.draw(st.integers(start, len(log)))

    assert victims(log[start:end]) <= named(log)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(LOGS), st.lists(st.integers(0, 60_000), max_size=8))
def test_the_split_into_blocks_makes_no_difference(log, cuts):
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


def test_lines_of_other_programs_are_not_the_kernels():
    line = f"Killed process 1 (a) {KILL}"

    assert read(f"12,1,1,-;{line}\n".encode()) == []  # written to /dev/kmsg by a program
    assert read(f"Nov 24 01:02:03 host app[7]: {line}\n".encode()) == []
    assert read(f"Nov 24 01:02:03 host app: {line}\n".encode()) == []
    assert read(f"user  :err   : [    1.000000] {line}\n".encode()) == []
    assert len(read(f"3,1,1,-;{line}\n".encode())) == 1


@pytest.mark.parametrize("digits", [11, 16, 20, 5000])
def test_numbers_that_no_machine_has_do_not_raise(digits):
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


def noise(size: int) -> bytes:
    lines = [
        f"Nov 24 0{i % 10}:00:{i % 60:02} host kernel: [{i}.{i:06}] audit: type=1400 audit(173240.{i % 1000:03}:{i}): "
        f'apparmor="STATUS" operation="profile_load" name="snap.x.{i}" pid={i} comm="apparmor_parser"\n'
        for i in range(2000)
    ]
    block = "".join(lines).encode()
    return block * (size // len(block) + 1)


UNRELATED = {"_TRANSPORT": "kernel", "MESSAGE": "veth7: link becomes ready", "_SOURCE_MONOTONIC_TIMESTAMP": "9"}
KILLED = f"Out of memory: Killed process 9 (a\udcff) {KILL}"


@pytest.mark.parametrize("gaps", [(",", ":"), (", ", ": "), (", ", " : ")])
@pytest.mark.parametrize("message", [KILLED.replace("\udcff", "\xff"), [*KILLED.encode(errors="surrogateescape")]])
def test_most_lines_of_the_journals_json_are_skipped_but_no_kill_is(gaps, message):
    unrelated = json.dumps(UNRELATED, separators=gaps).encode() + b"\n"
    logged = json.dumps({**UNRELATED, "MESSAGE": message}, separators=gaps, ensure_ascii=False).encode() + b"\n"
    with mock.patch.object(detect, "parse_json", side_effect=parse_json) as parse:
        found = read(unrelated * 4000, logged, unrelated * 4000)

    assert [kill.process.comm for kill in found] == ["a\xff" if isinstance(message, str) else "a\\xff"]
    assert parse.call_count < 2000


def test_no_line_of_dmesg_json_is_skipped_because_the_time_comes_first():
    unrelated = '{"dmesg": [' + '{\n"pri": 6,\n"time": 1.000000,\n"msg": "unrelated"\n},' * 1000
    logged = '{\n"pri": 6,\n"time": 2.000000,\n"msg": "' + KILLED.replace("\udcff", "") + '"\n}]}\n'
    (kill,) = read(unrelated.encode(), logged.encode())

    assert kill.id.startswith(f"log-{2_000_000_000:x}-9-")


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

    assert peak(48) < peak(12) + (1 << 18)  # of a log that is larger by 18 MiB


def test_a_line_without_end_is_read_in_bounded_memory():
    found = read(*([b"x" * (1 << 19)] * 8), f"\n[    1.000000] Out of memory: Killed process 9 (a) {KILL}\n".encode())

    assert len(found) <= 1
