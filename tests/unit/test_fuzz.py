# SPDX-License-Identifier: Apache-2.0
"""What is promised of any bytes, tried on real inputs with damage: the same few thousand each time.

`make fuzz` tries without end. What it has found stands below, as small as it could be made.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from fuzz.targets import CUT, KILL, TARGETS, check
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ooMtrace import record
from ooMtrace.kmsg.formats import LogLine
from ooMtrace.kmsg.report_parser import ReportParser
from ooMtrace.kmsg.to_record import with_seq
from ooMtrace.output.encode import plain

SEEDS = {name: tuple(target.seeds()) for name, target in TARGETS.items()}
WORDS = (
    b"\n",
    b"\0",
    b" ",
    b"-1",
    b"9" * 20,
    b"\x1b[",
    b"\xff",
    b"\xe2\x80\xa8",
    b'"',
    b"\\",
    b"=",
    b":",
    b"'",
    b"@",
    CUT,
)

EDITS = st.lists(
    st.tuples(
        st.sampled_from(("write", "insert", "remove", "repeat", "flip", "number")),
        st.floats(0, 1, exclude_max=True),
        st.integers(1, 64),
        st.one_of(st.sampled_from(WORDS), st.binary(min_size=1, max_size=12)),
    ),
    max_size=6,
)


def damaged(seed: bytes, edits: list[tuple[str, float, int, bytes]]) -> bytes:
    """Change a real input here and there."""
    data = bytearray(seed)
    for kind, place, length, word in edits:
        at = int(place * (len(data) + 1))
        if kind == "write":
            data[at : at + len(word)] = word
        elif kind == "insert":
            data[at:at] = word
        elif kind == "remove":
            del data[at : at + length]
        elif kind == "repeat":
            data[at:at] = data[at : at + length] * length
        elif kind == "flip" and at < len(data):
            data[at] ^= 1 << length % 8
        elif kind == "number":  # of 64 bits, where the records have theirs
            data[at // 8 * 8 : at // 8 * 8 + 8] = ((-1) ** length << length - 1 & (1 << 64) - 1).to_bytes(8, "little")
    return bytes(data)


@pytest.mark.parametrize("name", TARGETS)
def test_the_real_inputs_keep_the_promises(name):
    assert SEEDS[name]
    for seed in SEEDS[name]:
        TARGETS[name].run(seed)


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=400, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None)
@given(data=st.data())
def test_damaged_inputs_keep_the_promises(name, data):
    TARGETS[name].run(damaged(data.draw(st.sampled_from(SEEDS[name])), data.draw(EDITS)))


HEADER = b"x invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0\n"
STACK = b"CPU: 0 PID: 1 Comm: x Not tainted 6.1.0 #1\n"
TABLE = b"[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name\n"
SUMMARY = (
    b"oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/a,task_memcg=/a/b,task=x,"
    b"pid=9,uid=0\n"
)
KILLED = b"Memory cgroup out of memory: Killed process 9 (x) total-vm:4kB, anon-rss:1kB, file-rss:1kB, shmem-rss:0kB\n"
REPORT = HEADER + STACK + SUMMARY + KILLED

TOO_LONG = {
    "host": b"2026-01-01T00:00:00Z " + b"h" * 9000 + b" kernel: " + KILLED,
    "host in the journal": b'{"_HOSTNAME":"%s","MESSAGE":"%s"}\n' % (b"h" * 9000, KILLED[:-1]),
    "boot in the journal": b'{"_BOOT_ID":"%s","MESSAGE":"%s"}\n' % (b"b" * 9000, KILLED[:-1]),
    "flags": REPORT.replace(b"GFP_KERNEL", b"X|" * 5000),
    "release": REPORT.replace(b"6.1.0", b"6" * 9000),
    "constraint": HEADER + SUMMARY.replace(b"_MEMCG", b"_MEMCG" * 1500) + KILLED[29:],
}


@pytest.mark.parametrize("name", TOO_LONG)
def test_no_name_in_a_log_makes_a_line_too_long(name):
    TARGETS["kmsg"].run(TOO_LONG[name])


def test_a_score_that_no_kernel_has_is_not_reckoned_with():
    usage = b"memory: usage 4kB, limit 4503599627370000kB, failcnt 1\nswap: usage 0kB, limit 0kB, failcnt 0\n"
    row = b"[      9]     0     9        1        1     4096        0 9999999999999 x\n"
    TARGETS["kmsg"].run(HEADER + usage + TABLE + row + SUMMARY + KILLED)


SLOW = {
    "escaped quotes": ("lines", b'\\"' * (1 << 15)),
    "releases": ("kmsg", HEADER + STACK[:22] + b"ainted 1 #1#" * 5000 + b"\n" + KILLED),
    "fields and blank lines": ("kmsg", b'"msg": "Killed"\n' + b"\n" * 30_000 + b'"msg": "Killed"\n'),
    "unmarked fields": ("kmsg", b"Killed\n" + b"A=b\n" * 15_000 + b"A=Kill\n"),
    "lines with one stamp": ("kmsg", b"[    1.000000] Kill a\n" * 3000),
    "decoration": ("lines", b"> " * (1 << 14) + b"- 1. " * (1 << 12)),
    "names of files": ("lines", b"a-" * (1 << 14) + b"a:" * (1 << 14)),
    "half a release": ("kmsg", HEADER + STACK[:22] + b"ainted 1" * 8000 + b"\n" + KILLED),
}


@pytest.mark.parametrize("name", SLOW)
def test_no_line_takes_quadratic_time(name):
    target, data = SLOW[name]
    begin = time.process_time()
    TARGETS[target].run(data)

    assert time.process_time() - begin < 0.3  # it takes a few milliseconds, and took 0.5 to 12 s


def members(count: int) -> Iterator[LogLine]:
    for pid in range(1, count + 1):
        yield LogLine(KILLED.decode()[:-1].replace("process 9", f"process {pid}"), number=pid)
        if pid == 1:
            yield LogLine("Tasks in /a are going to be killed due to memory.oom.group set")


def test_a_large_group_takes_no_quadratic_time():
    reader = ReportParser()
    begin = time.process_time()
    found = [report for line in members(30_000) for report in reader.feed(line)] + list(reader.drain())

    assert [len(report.kills) for report in found] == [30_000]
    assert time.process_time() - begin < 5  # it takes 0.3 s, and took 12


def test_no_report_grows_without_bound(monkeypatch):
    monkeypatch.setattr("ooMtrace.kmsg.line_readers.MAX_KILLS", 10)
    reader = ReportParser()
    found = [report for line in members(30) for report in reader.feed(line)] + list(reader.drain())

    assert [len(report.kills) for report in found] == [10] + [1] * 20


def test_a_number_beyond_64_bits_is_unknown_and_named_so():
    kill = with_seq(
        record.OomKill(
            id="a",
            observed="b",
            message="",
            fidelity="full",
            host=record.Host(),
            oom=record.Oom(incident="a", limit_bytes=1 << 64, order=(1 << 64) - 1),
            process=record.Process(memory=record.Memory(anon=-(1 << 63) - 1)),
        ),
        1,
    )

    check(kill)
    assert plain(kill)["oom"] == {"incident": "a", "order": (1 << 64) - 1}
    assert {"oom.limit_bytes", "process.memory"} <= set(kill.missing)


def test_the_checks_can_fail():
    """An encoder that lets through what a terminal obeys, or a line too long, is found out."""
    with pytest.raises(AssertionError):
        check(
            record.OomKill(
                id="x" * 9000,
                observed="",
                message="",
                fidelity="log",
                host=KILL.host,
                oom=KILL.oom,
                process=KILL.process,
            )
        )
