# SPDX-License-Identifier: Apache-2.0
"""`oomtrace logs` with options that select and count kills."""

from __future__ import annotations

import time
from argparse import ArgumentTypeError
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from support.logrun import Run

from ooMtrace import cli
from ooMtrace.commands.kill_table import MAX_KEYS, KillTable
from ooMtrace.commands.moments import parse_moment
from ooMtrace.errors import UsageError
from ooMtrace.record import Host, Oom, OomKill, Process

NOW = datetime(2026, 3, 5, 12, tzinfo=timezone.utc)


def kill(pid: int, comm: str, cgroup: str) -> list[str]:
    return [
        f"oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/box,"
        f"task_memcg={cgroup},task={comm},pid={pid},uid=1000",
        f"Memory cgroup out of memory: Killed process {pid} ({comm}) total-vm:80000kB, anon-rss:48000kB, file-rss:0kB,"
        " shmem-rss:0kB, UID:1000 pgtables:160kB oom_score_adj:0",
    ]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    kills = [
        ("2026-03-05T10:00:00", kill(100, "ruby", "/box/a")),
        ("2026-03-05T11:00:00", kill(200, "ruby3", "/box/ab")),
        ("2026-03-06T10:00:00", kill(300, "a-name-of-15-by", "/box/a/b")),
    ]
    path = tmp_path / "kern.log"
    path.write_text("".join(f"{time}.000000+00:00 box1 kernel: {line}\n" for time, lines in kills for line in lines))
    return path


def at(text: str) -> datetime:
    return parse_moment(text, NOW)


@pytest.mark.parametrize(
    ("options", "pids"),
    [
        ({}, [100, 200, 300]),
        ({"since": at("2026-03-05T11:00:00Z")}, [200, 300]),
        ({"until": at("2026-03-05T11:00:00Z")}, [100, 200]),
        ({"since": at("2026-03-05T10:30:00Z"), "until": at("2026-03-05T12:00:00Z")}, [200]),
        ({"process": "ruby"}, [100]),
        ({"process": "ruby*"}, [100, 200]),
        ({"process": "300"}, [300]),
        ({"process": "a-name-of-15-bytes-and-more"}, [300]),
        ({"process": "a-name"}, []),
        ({"cgroup": "/box/a"}, [100, 300]),
        ({"cgroup": "box/a/"}, [100, 300]),
        ({"cgroup": "/box"}, [100, 200, 300]),
        ({"cgroup": "/"}, [100, 200, 300]),
        ({"cgroup": "/bo"}, []),
        ({"cgroup": "/box/a", "process": "ruby"}, [100]),
    ],
)
def test_the_options_select_kills(tmp_path, log, options, pids):
    run = Run(tmp_path, log, **options)

    assert (run.code, run.said) == (0, [])
    assert [line["process"]["tid"] for line in run.lines] == pids
    assert [line["seq"] for line in run.lines] == list(range(1, len(pids) + 1))
    assert run.summary.startswith(f"{len(pids)} of 3 kills in {log}, " if options else f"3 kills in {log}, ")


@pytest.mark.parametrize("option", [{"since": NOW}, {"until": NOW}, {"cgroup": "/box"}])
def test_kills_that_cannot_be_selected_are_left_out_and_that_is_a_failure(tmp_path, option):
    log = tmp_path / "dmesg"
    log.write_text(f"[  100.000001] {kill(1, 'hog', '/')[1]}\n")
    run = Run(tmp_path, log, **option)

    assert (run.code, run.lines) == (1, [])
    assert run.said == [
        "1 of 1 kills left out: the log does not state the time or cgroup that the options ask for;"
        " see them without these options"
    ]


def test_the_summary_counts_by_name_cgroup_and_day(tmp_path, log):
    run = Run(tmp_path, log, log, summary=True, cgroup="/box/a")

    assert (run.code, run.said, run.summary) == (0, [], "")
    assert run.text.splitlines() == [
        "4 of 6 kills in 2 logs, period covered: 2026-03-05T10:00:00Z to 2026-03-06T10:00:00Z",
        "",
        "   kills  process",
        "       2  ruby",
        "       2  a-name-of-15-by",
        "",
        "   kills  cgroup",
        "       2  /box/a",
        "       2  /box/a/b",
        "",
        "   kills  day (UTC)",
        "       2  2026-03-06",
        "       2  2026-03-05",
    ]


def test_there_is_no_table_of_what_cannot_be_read(tmp_path):
    run = Run(tmp_path, tmp_path / "absent", summary=True)

    assert (run.code, run.text, len(run.said)) == (1, "", 1)


def of_name(comm: str | None) -> OomKill:
    return OomKill(
        id="x", observed="", oom=Oom(incident="x"), process=Process(comm=comm), host=Host(), message="", fidelity="log"
    )


def test_the_tables_are_short_and_bounded_and_control_no_terminal():
    table = KillTable()
    for number in range(MAX_KEYS + 5):
        table.add(of_name(f"p{number}"))
    table.add(of_name("p0"))
    table.add(of_name("\x1b[2J\n"))
    table.add(of_name(None))
    rows = table.text("heading").splitlines()

    assert len(rows) < 50
    assert "       2  p0" in rows
    assert rows[3].endswith("(others)")

    few = KillTable()
    few.add(of_name("\x1b[2J\n"))
    few.add(of_name(None))
    assert "       1  \\x1b[2J\\x0a" in few.text("heading").splitlines()
    assert "       1  (not in the log)" in few.text("heading").splitlines()


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-03-05T10:00:00Z", "2026-03-05T10:00:00+00:00"),
        ("2026-03-05t10:00:00.25z", "2026-03-05T10:00:00.250000+00:00"),
        ("2026-03-05T10:00:00.123456789+02:00", "2026-03-05T08:00:00.123456+00:00"),
        ("2026-03-05 10:00 -01:00", "2026-03-05T11:00:00+00:00"),
        ("90s", "2026-03-05T11:58:30+00:00"),
        ("30m", "2026-03-05T11:30:00+00:00"),
        ("2h", "2026-03-05T10:00:00+00:00"),
        ("3d", "2026-03-02T12:00:00+00:00"),
        ("1w", "2026-02-26T12:00:00+00:00"),
    ],
)
def test_a_time_is_absolute_or_ago(text, moment):
    assert at(text).isoformat() == moment


@pytest.mark.parametrize("text", ["2026-07-05", "2026-07-05 10:00", "2026-07-05 10:00:30"])
def test_a_time_without_a_zone_is_local_by_the_rules_of_its_own_date(text, monkeypatch):
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        expected = datetime.fromisoformat(text).replace(tzinfo=timezone(timedelta(hours=2)))
        assert at(text) == expected
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    "text",
    ["", "x", "2", "h", "-2h", "2 h", "2y", "2026", "2026-13-01", "2026-02-30", "2026-03-05 25:00", "999999w", "²h"],
)
def test_what_is_no_time_is_refused(text):
    with pytest.raises(ArgumentTypeError):
        at(text)


def test_options_that_contradict_each_other_are_wrong_usage(tmp_path, log):
    with pytest.raises(UsageError):
        Run(tmp_path, log, since=NOW, until=NOW - timedelta(days=1))
    with pytest.raises(UsageError):
        Run(tmp_path, log, summary=True, pretty=True)


def test_the_command_line_has_the_options_before_and_after_the_command():
    for line in ("--since 2h --summary logs F", "logs --since 2h F --summary"):
        command, arguments = cli.parse(line.split())
        assert (command, arguments.files, arguments.summary) == ("logs", ["F"], True)
        assert arguments.since < datetime.now(timezone.utc) - timedelta(minutes=119)
