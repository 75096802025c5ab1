# SPDX-License-Identifier: Apache-2.0
"""What the benchmark makes of the tools' output and of its measurements."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[2]
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))


MEASURED = {
    "first_ready_s": 2.0,
    "ready_s": 1.0,
    "piped_lines": 3,
    "memory_kb": {"rss": 2048, "pss": 1024, "private": 512},
    "memory_after_kb": {"rss": 4096, "pss": 1024, "private": 512},
    "storm_s": 3.0,
    "storm_lines": 100,
    "paced_latency_ms": {"p50": 1.0, "p99": 2.0},
    "storm_latency_ms": {"p50": 3.0, "p99": 4.0},
    "kernel_us": 12.34,
    "storm_cpu_ms": 1.5,
    "signal_ns": 8450.0,
    "exec_ns": 500000.0,
    "verified": 98765,
}


def result(**tools: Any) -> dict[str, Any]:
    scenes = {"group": {"true": 8, "marks": 8, "a": {"true": 8, "false": 0}, "b": {"true": 1, "false": 2}}}
    return {
        "kernel": "6.1.0",
        "versions": {"bpftrace": "0.17"},
        "nobody": {"signal_ns": 8000.0, "exec_ns": 400000.0, "storm_s": 2.0},
        "tools": tools,
        "together": {"idle_switches": {"a": 0, "b": 595}, "scenes": scenes},
    }


def row(text: str, begin: str) -> list[str]:
    (found,) = (line for line in text.splitlines() if line.startswith(f"| {begin}"))
    return [cell.strip() for cell in found.strip("|").split("|")][1:]


def test_the_table_has_a_row_for_each_cost():
    from bench.table import render

    text = render([result(a=MEASURED, b=MEASURED)])

    assert row(text, "second start") == ["", "1.00", "1.00"]
    assert row(text, "memory then")[1] == "2.0 / 1.0 / 0.5"
    assert row(text, "100 kills") == ["2.00", "1.50", "1.50"]
    assert row(text, "mark to line, 4 at once")[1] == "3.00 / 4.00"
    assert row(text, "in the kernel")[1] == "12.3"
    assert row(text, "a signal") == ["8.00", "8.45", "8.45"]
    assert row(text, "instructions")[1] == "98,765"
    assert row(text, "context switches") == ["", "0", "595"]
    assert row(text, "group of 8") == ["8", "8", "1, and 2 not killed"]
    assert "Linux 6.1.0; bpftrace 0.17:" in text


def test_what_could_not_be_measured_is_a_question_mark():
    from bench.table import render

    text = render([result(a=MEASURED, b={"error": "it did not start"})])

    assert row(text, "second start") == ["", "1.00", "?"]
    assert row(text, "100 kills") == ["2.00", "1.50", "?"]


PAGE = "before\n<!-- x: begin -->\nold\n<!-- x: end -->\nafter\n"


def test_only_the_generated_part_of_a_page_is_replaced_and_again():
    from bench.table import between

    once = between(PAGE, "x", "new\n")

    assert once == "before\n<!-- x: begin -->\n\nnew\n\n<!-- x: end -->\nafter\n"
    assert between(once, "x", "new") == once


@pytest.mark.parametrize("page", ["", PAGE * 2, PAGE.replace("end", "END")])
def test_a_page_without_one_generated_part_is_refused(page):
    from bench.table import between

    with pytest.raises(ValueError, match="the page needs one"):
        between(page, "x", "new")


def test_the_page_has_the_parts_that_the_benchmarks_write():
    from bench.table import between

    page = (ROOT / "docs/cost.md").read_text()

    assert between(between(page, "make bench", "new"), "make bench-host", "new").count("\nnew\n") == 2


def test_lines_of_all_tools_are_recognized():
    from bench.tool import parse

    old = b'12:00:01 Triggered by PID 7 ("cc"), OOM kill of PID 9 ("hog"), 65536 pages, loadavg: 0.1'
    lines = [
        (old, 9),
        (b"OOM kill of PID 10 (hog), 1 pages", 10),
        (b'{"event":"oom_kill","process":{"pid":11}}', 11),
        (b'{"event":"oom_lost","lost":{"count":1}}', None),
    ]

    for text, pid in lines:
        line = parse(5, text)
        assert line is not None
        assert (line.at, line.pid) == (5, pid)
    assert parse(5, b"Tracing OOM kills... Ctrl-C to stop.") is None


def test_a_dying_process_is_not_reported_as_killed():
    from bench.guest import named
    from bench.tool import parse

    texts = [
        b'{"event":"oom_dying","process":{"pid":1}}',
        b'{"event":"oom_kill","process":{"pid":2}}',
        b"OOM kill of PID 3",
    ]
    lines = [line for text in texts if (line := parse(0, text))]

    assert named(lines, [2]) == {"true": 1, "false": 1}
    assert named(lines[:1], []) == {"true": 0, "false": 0}


TRACE = """\
# tracer: nop
     victim-149   [000] d..2.    12.345678: mark_victim: pid=149
     victim-150   [000] d..2.    13.000001: mark_victim: pid=150 comm=x total-vm:1kB
     victim-149   [000] d..2.    14.000000: mark_victim: pid=149
"""


def test_latency_is_from_the_first_mark_to_the_line():
    from bench.guest import latencies
    from bench.kills import parse_marks
    from bench.tool import OutputLine

    marked = parse_marks(TRACE)

    assert marked == {149: 12_345_678_000, 150: 13_000_001_000}
    lines = [OutputLine(12_347_678_000, 149, b""), OutputLine(13_001_001_000, 150, b""), OutputLine(1, 151, b"")]
    assert latencies(marked, lines) == {"p50": 1.5, "p99": 2.0}
    assert latencies(marked, []) == {}


def test_time_in_the_kernel_is_that_between_two_readings():
    from bench.guest import kernel_ns

    before = {1: {"run_time_ns": 10}, 2: {"run_time_ns": 5}}
    after = {1: {"run_time_ns": 30}, 2: {"run_time_ns": 5}, 3: {"run_time_ns": 7}}

    assert kernel_ns(before, after) == 27


def test_the_counters_of_a_program_are_read_and_other_descriptors_have_none(tmp_path):
    from bench.tool import program_counters

    (tmp_path / "program").write_text("pos:\t0\nprog_id:\t7\nrun_time_ns:\t100\nrun_cnt:\t2\nverified_insns:\t54\n")
    (tmp_path / "file").write_text("pos:\t0\nflags:\t02\n")

    assert program_counters(tmp_path / "program") == {
        "prog_id": 7,
        "run_time_ns": 100,
        "run_cnt": 2,
        "verified_insns": 54,
    }
    assert program_counters(tmp_path / "file") == {}


@pytest.mark.parametrize(
    ("largest", "expected"),
    [
        (10, [0, 2, 4, 6, 8, 10]),
        (0.9, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (20_000, [0, 5000, 10_000, 15_000, 20_000]),
        (0, [0, 1]),
    ],
)
def test_axes_have_round_numbers_up_to_the_largest_value(largest, expected):
    from bench.plot import ticks

    assert ticks(largest) == pytest.approx(expected)


def test_a_chart_is_svg_with_a_point_for_each_value_inside_the_axes():
    from bench.plot import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, chart

    lines = {"6.1 <a>": [(10, 1.0), (1000, 50.0)], "6.12": [(10, 2.0)]}
    root = ElementTree.fromstring(chart("A & B", "x", "y", lines))

    points = [(float(each.attrib["cx"]), float(each.attrib["cy"])) for each in root.iter(f"{SVG}circle")]
    assert len(points) == 3
    assert all(LEFT <= x <= WIDTH - RIGHT and TOP <= y <= HEIGHT - BOTTOM for x, y in points)
    assert points[0][0] < points[1][0]
    assert points[0][1] > points[1][1]
    assert {"A & B", "6.1 <a>", "6.12"} <= {each.text for each in root.iter(f"{SVG}text")}


def test_the_guests_are_debians_kernels_with_the_tools_of_their_release():
    from vm.matrix import load

    from bench.guests import USERLANDS, guests

    found = guests(load(), USERLANDS)

    assert [(guest.kernel.name, guest.userland.suite) for guest in found] == [("6.1", "bookworm"), ("6.12", "trixie")]
    for guest in found:
        assert f"linux-headers-{guest.kernel.release}" in guest.userland.packages
        assert "bpftrace" in guest.userland.packages


@pytest.mark.skipif(sys.platform != "linux", reason="starts a process")
def test_a_tool_is_started_timed_and_stopped(tmp_path):
    from bench.tool import Command, Tool

    tool = tmp_path / "tool"
    tool.write_text('#!/bin/sh\ntouch "$2"\necho "OOM kill of PID 5"\nexec sleep 60\n')
    tool.chmod(0o755)

    with Tool(Command((str(tool),), "--ready-file")) as running:
        assert 0 < running.wait_ready() < 60
        assert [line.pid for line in running.wait_kills([5], 0, 30)] == [5]
        assert running.memory_kb()["rss"] > 0
        assert running.programs() == {}
    assert not Path(f"/proc/{running.pid}").exists()


def test_a_tool_that_does_not_start_is_named_with_what_it_says(tmp_path):
    from bench.tool import Command, Tool

    tool = tmp_path / "tool"
    tool.write_text("#!/bin/sh\necho no BTF here >&2\nexit 1\n")
    tool.chmod(0o755)

    with Tool(Command((str(tool),), "--ready-file")) as running, pytest.raises(RuntimeError, match="no BTF here"):
        running.wait_ready()
