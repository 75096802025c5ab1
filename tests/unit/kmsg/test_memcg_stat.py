# SPDX-License-Identifier: Apache-2.0
"""The statistics of a memory cgroup, in both forms."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path

import pytest
from support.log_kills import kills

from ooMtrace.kmsg.memcg_stat import MAX_STATS, MemcgStat
from ooMtrace.kmsg.to_record import Origin, with_seq
from ooMtrace.output.encode import encode

CORPUS = Path(__file__).parents[2] / "fixtures/kmsg"
LATEST = datetime(2026, 11, 24, 4, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("name", "count", "some"),
    [
        ("rhel7-3.10-memcg", 10, {"cache": 0, "rss": 524288 * 1024, "swap": 772 * 1024}),
        ("ubuntu-4.4-docker", 11, {"cache": 108 * 1024, "rss": 197168 * 1024, "inactive_file": 88 * 1024}),
        ("vm-5.10.223-v1-memcg", 36, {}),
        ("vm-6.12-swap", 60, {}),
        ("host-6.18-v1-memcg", 41, {"rss": 25112576, "pgfault": 30578, "hierarchical_memory_limit": 25165824}),
        ("vm-7.3-group", 71, {}),
    ],
)
def test_the_statistics_are_those_in_the_log(name, count, some):
    kill = next(kills([(CORPUS / f"{name}.log").read_bytes()], Origin("2026-11-24T04:00:00.000000Z"), LATEST))
    line = json.loads(encode(with_seq(kill, 1)))

    stat = line["oom"]["memcg"]["stat"]
    assert len(stat) == count
    assert {key: stat.get(key) for key in some} == some
    if "anon" in stat:
        assert 0.8 <= (stat["anon"] + stat["file"]) / line["oom"]["memcg"]["usage"] <= 1
    assert "truncated" not in line


def test_a_record_of_several_lines_is_read_and_a_cut_number_at_its_end_is_not():
    for length, expected in ((986, 2), (989, 1), (994, 2)):
        stat = MemcgStat()
        lines = ["anon 5", *["#"] * ((length - len("anon 5\nfile 12\n") + 1) // 2), "file 12"]
        text = "\n".join(lines)
        text = text.replace("#", "##", length - len(text))
        assert stat.add(text)
        assert len(text) == length
        assert len(stat.complete()) == expected, length


@pytest.mark.parametrize(
    "text", ["anon -1", "anon 1 2", "anon", "Anon 1", "anon \u0663", "anon 123456789012345678901", "[ 1] anon 1", ""]
)
def test_other_lines_are_no_statistics(text):
    assert not MemcgStat().add(text)


def test_impossible_numbers_are_absent_and_the_number_of_names_is_bounded():
    stat = MemcgStat()
    stat.add(f"anon {(1 << 64) - 4096}")
    stat.add("hierarchical_memsw_limit 9223372036854771712")
    stat.add_kib(f" cache:{1 << 62}KB rss:{1 << 40}KB")
    for number in range(1000):
        stat.add(f"key_{number} 1")

    assert len(stat.complete()) == MAX_STATS
    assert "anon" not in stat.numbers
    assert "hierarchical_memsw_limit" not in stat.numbers
    assert "cache" not in stat.numbers
    assert stat.numbers["rss"] == 1 << 50


def test_the_first_of_two_numbers_of_a_name_counts():
    stat = MemcgStat()
    stat.add("anon 1")
    stat.add("anon 2")

    assert stat.complete() == {"anon": 1}
