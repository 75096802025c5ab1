# SPDX-License-Identifier: Apache-2.0
"""`oomtrace logs`: OOMs without a kill beside kills, and the names of users."""

from __future__ import annotations

import json
import pwd
from pathlib import Path

import pytest
from support.logrun import Run

from ooMtrace.commands import logs
from ooMtrace.commands.moments import parse_moment
from ooMtrace.kmsg import boot_log

REPORT = [
    "hog invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=-1000",
    "CPU: 0 PID: 321 Comm: hog Not tainted 6.1.0 #1 Debian",
    "memory: usage 51200kB, limit 51200kB, failcnt 39",
    "swap: usage 0kB, limit 0kB, failcnt 0",
    "Memory cgroup stats for /box/a:",
    "anon 51200000",
    "Out of memory and no killable processes...",
]
KILL = [
    "Out of memory: Killed process 7 (ruby) total-vm:80000kB, anon-rss:48000kB, file-rss:0kB, shmem-rss:0kB,"
    " UID:0 pgtables:160kB oom_score_adj:0",
]
BOOT_ID = Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "kern.log"
    path.write_text(
        "".join(
            f"2026-03-0{day}T10:00:00.000000+00:00 box1 kernel: {line}\n"
            for day, lines in enumerate((REPORT, KILL, REPORT), 1)
            for line in lines
        )
    )
    return path


def test_lines_are_in_the_order_of_the_log_and_numbered_together(tmp_path, log, validate):
    run = Run(tmp_path, log)

    assert [(line["seq"], line["event"]) for line in run.lines] == [
        *((1, "oom_no_kill"), (2, "oom_kill"), (3, "oom_no_kill")),
    ]
    for line in run.lines:
        validate(line)
    assert (run.code, run.said) == (0, [])
    assert run.summary.startswith(f"1 kill in {log}, 2 OOMs without a kill, period covered: 2026-03-01T10:00:00Z to ")


@pytest.mark.parametrize(
    ("options", "events", "counts"),
    [
        ({"process": "hog"}, ["oom_no_kill"] * 2, "0 of 1 kill in {}, 2 of 2 OOMs without a kill"),
        ({"process": "321"}, ["oom_no_kill"] * 2, "0 of 1 kill in {}, 2 of 2 OOMs without a kill"),
        ({"process": "ruby"}, ["oom_kill"], "1 of 1 kill in {}, 0 of 2 OOMs without a kill"),
        ({"cgroup": "/box", "process": "hog"}, ["oom_no_kill"] * 2, "0 of 1 kill in {}, 2 of 2 OOMs without a kill"),
        ({"cgroup": "/bo", "process": "hog"}, [], "0 of 1 kill in {}, 0 of 2 OOMs without a kill"),
        (
            {"since": parse_moment("2026-03-02T00:00:00Z")},
            ["oom_kill", "oom_no_kill"],
            "1 of 1 kill in {}, 1 of 2 OOMs without a kill",
        ),
    ],
)
def test_the_options_select_them_too(tmp_path, log, options, events, counts):
    run = Run(tmp_path, log, **options)

    assert [line["event"] for line in run.lines] == events
    assert run.summary.startswith(counts.format(log))


def test_the_tables_count_kills_and_the_heading_counts_both(tmp_path, log):
    text = Run(tmp_path, log, summary=True).text

    assert text.startswith(f"1 kill in {log}, 2 OOMs without a kill, ")
    assert "ruby" in text
    assert "hog" not in text


def test_a_log_that_has_only_an_oom_without_a_kill_is_no_problem(tmp_path):
    path = tmp_path / "dmesg"
    path.write_text("".join(f"[    1.00000{at}] {line}\n" for at, line in enumerate(REPORT)))
    run = Run(tmp_path, path)

    assert (run.code, run.said) == (0, [])
    assert [line["event"] for line in run.lines] == ["oom_no_kill"]


def journal(boot_id: str) -> bytes:
    fields = {"_TRANSPORT": "kernel", "_BOOT_ID": boot_id.replace("-", ""), "__REALTIME_TIMESTAMP": "1772704800000000"}
    return "".join(json.dumps({**fields, "MESSAGE": line}) + "\n" for line in KILL).encode()


@pytest.mark.parametrize(
    ("boot_id", "name"), [(BOOT_ID, pwd.getpwuid(0).pw_name), ("0123456789abcdef0123456789abcdef", None), ("", None)]
)
def test_a_user_has_a_name_only_in_a_log_of_this_boot_of_this_host(tmp_path, boot_id, name):
    path = tmp_path / "journal.json"
    path.write_bytes(journal(boot_id))
    (line,) = Run(tmp_path, path).lines

    assert line["process"]["user"] == ({"id": 0, "name": name} if name else {"id": 0})


@pytest.mark.parametrize("count", [17, None])
def test_the_kernels_own_log_has_both_and_names_of_users(tmp_path, monkeypatch, count):
    file = tmp_path / "kmsg"
    texts = [*REPORT, *KILL, *REPORT]
    file.write_text("".join(f"3,{at},{10_000_000 + at * 100_000},-;{text}\n" for at, text in enumerate(texts)))
    monkeypatch.setattr(logs, "KMSG", str(file))
    monkeypatch.setattr(boot_log, "read_kill_count", lambda _: count)
    run = Run(tmp_path)

    assert [line["event"] for line in run.lines][:2] == ["oom_no_kill", "oom_kill"]
    kill = run.lines[1]
    assert kill["process"]["user"] == {"id": 0, "name": pwd.getpwuid(0).pw_name}
    assert kill["oom"].get("number") == count
    assert run.lines[0]["host"]["boot_id"] == BOOT_ID
