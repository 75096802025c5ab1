# SPDX-License-Identifier: Apache-2.0
"""What `oomtrace logs` says of each of several logs, and of a log whose ends are not the kernel's."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

from support.logrun import Run

KILL = (
    "[Tue Nov 24 03:00:01 2026] Memory cgroup out of memory: Killed process 9 (a) total-vm:40kB, anon-rss:20kB, "
    "file-rss:0kB, shmem-rss:0kB, UID:0 pgtables:4kB oom_score_adj:0\n"
)
NOISE = "something else\n" * 4000


def log(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_a_log_without_the_kernels_lines_is_a_problem_after_one_with_kills(tmp_path):
    first, second = log(tmp_path, "kern.log", KILL), log(tmp_path, "other.log", NOISE)

    both, reverse = Run(tmp_path, first, second), Run(tmp_path, second, first)

    for run in (both, reverse):
        assert run.code == 1
        assert [said.partition(": ")[2].partition(";")[0] for said in run.said] == ["no kernel messages recognized"]
        assert str(second) in run.said[0]
        assert len(run.lines) == 1


def test_the_time_of_a_kill_belongs_to_the_period_of_a_log_whose_ends_are_not_the_kernels(tmp_path):
    run = Run(tmp_path, log(tmp_path, "mixed.log", NOISE + KILL + NOISE))

    (line,) = run.lines
    time = f"{line['time'].partition('.')[0]}Z"
    assert f"period covered: {time} to {time}" in run.summary
    assert "no clock times" not in run.summary


def test_a_line_was_observed_when_the_log_was_read(tmp_path):
    began = datetime.now(timezone.utc)
    (line,) = Run(tmp_path, log(tmp_path, "kern.log", KILL)).lines
    observed = datetime.fromisoformat(line["observed"].replace("Z", "+00:00"))

    assert began - timedelta(seconds=1) <= observed <= datetime.now(timezone.utc) + timedelta(seconds=1)


def test_a_kill_that_cannot_be_read_is_named_although_the_log_has_others(tmp_path):
    cut = KILL.replace("Killed process 9 (a) total-vm:40kB, anon", "Killed process 10 (b) vm:").replace(
        "01 2026", "09 2026"
    )
    run = Run(tmp_path, log(tmp_path, "kern.log", KILL + cut))

    assert run.code == 1
    assert [line["process"]["tid"] for line in run.lines] == [9]
    assert len(run.said) == 1
    assert "1 line looks like a kill but could not be read" in run.said[0]
