# SPDX-License-Identifier: Apache-2.0
"""Every kill that the kernel counts has its line, or is reported as lost."""

from __future__ import annotations

import os
import re
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from support.storm import Storm, storm
from support.tracer import Line, RunningTracer
from support.witness import KernelLog, oom_kill_count

STORM = 3000
SETTLE_S = 30
GROWTH_KIB = 24 << 10
"""16 MiB are usual. Other processes' kills take memory, too, as long as their lines wait."""


class Account:
    """Compares a tracer's lines with the kernel's counter, from before its start until after its end."""

    def __init__(self) -> None:
        self._before = self._until = oom_kill_count()

    def settle(self, tracer: RunningTracer) -> None:
        """Wait until the reconciler is idle: a second after the last kill, and another to be sure.

        If processes of others are killed all the time, it never is: at the tracer's end it accounts for the rest.
        """
        self._until = oom_kill_count()
        deadline = time.monotonic() + SETTLE_S
        size = -1
        while size != (size := tracer.output.stat().st_size) and time.monotonic() < deadline:
            time.sleep(3)

    def check(self, tracer: RunningTracer, *, from_the_first: bool = False) -> tuple[list[Line], int]:
        """Compare; return the lines of kills, and how many kills are reported as lost.

        What is killed between `settle` and this, the tracer may or may not have seen.
        """
        after = oom_kill_count()
        kills = [line for line in tracer.lines() if line["event"] == "oom_kill"]
        lost = sum(line["lost"]["count"] for line in tracer.lines() if line["event"] == "oom_lost")
        numbers = [line["oom"]["number"] for line in kills]
        assert len(set(numbers)) == len(numbers)
        assert len({line["id"] for line in tracer.lines()}) == len(tracer.lines())
        assert self._before < min(numbers)
        assert max(numbers) <= after
        # The first ordinal is the first kill that the tracer accounts for; kills before it are not its own.
        first = self._before + 1 if from_the_first else min(numbers)
        if not lost:
            assert sorted(numbers) == list(range(first, max(numbers) + 1))
        assert self._until <= first - 1 + len(kills) + lost <= after
        return kills, lost


def resident_kib(pid: int) -> int:
    found = re.search(r"^VmRSS:\s*(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1])


def test_3000_kills_as_fast_as_they_come_give_3000_lines(tmp_path, program, cgroup, validate):
    account = Account()
    with RunningTracer(tmp_path) as tracer:
        resident = resident_kib(tracer.process.pid)
        pids = storm(program, cgroup(), STORM)
        account.settle(tracer)
        assert resident_kib(tracer.process.pid) - resident < GROWTH_KIB
    kills, lost = account.check(tracer)

    assert lost == 0
    assert {line["fidelity"] for line in kills} == {"reduced"}
    assert Counter(pids) <= Counter(line["process"]["pid"] for line in kills)
    assert not any("dropped_before" in line for line in kills)
    for line in kills[::50]:
        validate(line)


def test_with_the_tracer_stopped_for_5_s_lines_and_losses_account_for_every_kill(tmp_path, program, cgroup, validate):
    account = Account()
    with RunningTracer(tmp_path, repairs=True) as tracer:
        resident = resident_kib(tracer.process.pid)
        with Storm(program, cgroup(), STORM) as running:
            running.take(STORM // 3)
            tracer.process.send_signal(signal.SIGSTOP)
            time.sleep(5)
            running.take(STORM // 2)  # more than there is room for, however slow the storm is
            tracer.process.send_signal(signal.SIGCONT)
            running.rest()
        account.settle(tracer)
        assert resident_kib(tracer.process.pid) - resident < GROWTH_KIB
    kills, lost = account.check(tracer)

    traced = sum(line["fidelity"] == "reduced" for line in kills)
    assert traced < len(kills) + lost, "nothing was lost: it was not stopped at all"
    print(f"{traced} traced, {len(kills) - traced} backfilled from the kernel log, {lost} lost")
    for line in tracer.lines():
        if line.get("fidelity") == "log" or line["event"] == "oom_lost":
            validate(line)


def test_records_that_find_the_buffer_full_are_stated_by_the_next_line(tmp_path, program, cgroup, victim, validate):
    """The buffer's own count of them, with which the reconciler has nothing to do."""
    account, limited = Account(), cgroup(24)
    with RunningTracer(tmp_path, repairs=True) as tracer:
        tracer.process.send_signal(signal.SIGSTOP)
        storm(program, cgroup(), 500, at_once=2)
        tracer.process.send_signal(signal.SIGCONT)
        account.settle(tracer)
        for cpu in os.sched_getaffinity(0):  # each CPU has its buffer, whose next record comes after its losses
            process = victim("hog", limited)
            os.sched_setaffinity(process.pid, {cpu})
            assert process.go().end() == -signal.SIGKILL
            tracer.lines_of([process.pid])
    kills, lost = account.check(tracer)

    for line in kills:
        if "dropped_before" in line:
            validate(line)
    traced = [line for line in kills if line["fidelity"] == tracer.reached_level()]
    untraced = len(kills) - len(traced) + lost  # all of the kernel's count
    alone = sum("process.executable" in line["missing"] for line in traced)
    dropped = sum(line.get("dropped_before", 0) for line in kills)
    print(f"{dropped} records of {untraced} kills, and of {alone} others, did not fit")
    assert untraced > 0
    # of each kill there are two, at level full the ranking as well; the kill itself may fit and its context not
    most = {"reduced": 2, "full": 3}[tracer.reached_level()]
    assert untraced <= dropped <= most * untraced + (most - 1) * alone


def test_after_a_stop_of_30_s_missing_kills_are_backfilled(tmp_path, program, cgroup):
    account, log = Account(), KernelLog()
    with RunningTracer(tmp_path, repairs=True) as tracer:
        tracer.process.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        pids = storm(program, cgroup(), 400)
        time.sleep(max(0.0, 30 - (time.monotonic() - began)))
        tracer.process.send_signal(signal.SIGCONT)
        account.settle(tracer)
    kills, lost = account.check(tracer)

    # The perf buffer had room for some, the kernel log for more; the rest is counted as lost.
    reported = {line["process"]["tid"] for line in kills}
    assert len(set(pids) - reported) <= lost
    logged = log.kills()
    for line in kills:
        if line["fidelity"] == "log" and line["process"]["tid"] in logged:
            assert line["process"]["memory"]["anon"] == logged[line["process"]["tid"]].anon * 1024


def test_after_a_restart_missed_kills_are_reported_once(tmp_path, program, cgroup, validate):
    state, limited = ("--state", str(tmp_path / "state")), cgroup()
    first = RunningTracer(tmp_path, *state)
    first.__enter__()
    seen = storm(program, limited, 2)
    first.lines_of(seen)
    time.sleep(0.2)
    first.process.kill()
    first.process.wait()
    first.output.with_name("ready").unlink()
    missed = storm(program, limited, 5)
    with RunningTracer(tmp_path, *state, repairs=True) as second:
        live = storm(program, limited, 3)
        second.lines_of(live)
    with RunningTracer(tmp_path, *state, repairs=True) as third:  # others may have been killed before it was ready
        last = storm(program, limited, 1)
        third.lines_of(last)

    ours = {*seen, *missed, *live, *last}
    lines = [line for line in third.lines() if line["process"]["tid"] in ours]
    assert [line["fidelity"] for line in lines] == ["reduced"] * 2 + ["log"] * 5 + ["reduced"] * 4
    lines.sort(key=lambda line: line["oom"]["number"])  # a line may wait for its context, and come later
    assert [line["process"]["tid"] for line in lines] == [*seen, *missed, *live, *last]
    assert {line["fidelity"] for line in lines if line["process"]["tid"] in missed} == {"log"}
    # somebody's process that shares a victim's memory is not counted
    numbers = sorted(line["oom"]["number"] for line in third.lines() if line["oom"].get("verdict") != "shared_mm")
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert not [line for line in third.lines() if line["event"] != "oom_kill"]
    for line in lines:
        validate(line)


def test_systemds_state_directory_is_the_default(tmp_path, program, cgroup, monkeypatch):
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    with RunningTracer(tmp_path) as tracer:
        tracer.lines_of(storm(program, cgroup(), 1))
    text = (tmp_path / "state/checkpoint").read_text()

    assert re.search(r"^oom_kill (\d+)$", text, re.MULTILINE)
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700


def test_a_second_tracer_with_the_same_state_directory_is_refused(tmp_path):
    with RunningTracer(tmp_path, "--state", str(tmp_path / "state")):
        (tmp_path / "other").mkdir()
        with pytest.raises(AssertionError, match="another oomtrace"):
            RunningTracer(tmp_path / "other", "--state", str(tmp_path / "state")).__enter__()


def test_two_tracers_at_once_report_the_same_kills(tmp_path, program, cgroup):
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    with RunningTracer(folders[0]) as one, RunningTracer(folders[1], "--level", "minimal") as two:
        pids = storm(program, cgroup(), 50)
        lines = [sorted((line["id"], line["oom"]["number"]) for line in tracer.lines_of(pids)) for tracer in (one, two)]

    assert len(lines[0]) == 50
    assert lines[0] == lines[1]


def test_level_log_reports_every_kill(tmp_path, program, cgroup, victim, validate, reported_kill):
    """Level log, beside level reduced: the same kills by the same ids, and no contradicting facts."""
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    with RunningTracer(folders[0], "--level", "log") as log, RunningTracer(folders[1]) as probes:
        assert log.reached_level() == "log"
        reported = reported_kill(lambda: victim("mixed", cgroup(24), uid=1000, adj=100).go())
        process = reported.victim
        pids = [process.pid, *storm(program, cgroup(), 40)]
        logged, traced = ({line["id"]: line for line in tracer.lines_of(pids)} for tracer in (log, probes))

    assert len(logged) == 41
    assert logged.keys() == traced.keys()
    for ident, line in logged.items():
        validate(line)
        assert line["fidelity"] == "log"
        for name in ("anon", "file", "shmem", "page_tables", "total_vm"):
            if name in line["process"]["memory"]:
                assert line["process"]["memory"][name] == traced[ident]["process"]["memory"][name], name
        for name in ("tid", "comm", "oom_score_adj"):
            assert line["process"][name] == traced[ident]["process"][name]
        assert line["oom"]["number"] == traced[ident]["oom"]["number"]
    first = next(line for line in logged.values() if line["process"]["tid"] == process.pid)
    assert first["process"]["user"]["id"] == 1000
    if reported.complete:
        assert first["oom"]["scope"] == "memcg"
        assert first["oom"]["memcg"]["limit"] == 24 << 20


def test_an_idle_tracer_does_not_wake_up(tmp_path, program, cgroup):
    def switches(pid: int) -> int:
        found = re.search(r"^voluntary_ctxt_switches:\s*(\d+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
        assert found
        return int(found[1])

    with RunningTracer(tmp_path) as tracer:
        tracer.lines_of(storm(program, cgroup(), 1))
        for _ in range(5):
            kills = oom_kill_count()
            time.sleep(3)
            before = switches(tracer.process.pid)
            time.sleep(3)
            kills = oom_kill_count() - kills  # of others; only a kill wakes it up
            assert switches(tracer.process.pid) - before <= 10 * kills
            if kills == 0:
                break


def test_a_victim_whose_cgroup_is_removed_at_once_has_its_path_and_limit(tracer, program, victim):
    from ooMtrace.kernel.scratch_cgroup import scratch_cgroup

    with scratch_cgroup(f"oomtrace-test-{os.getpid()}-vanishing") as limited:
        limited.limit(24 << 20)
        process = victim("hog", limited).go()
        tracer.process.send_signal(signal.SIGSTOP)
        process.end()
    assert not limited.folder.exists()
    tracer.process.send_signal(signal.SIGCONT)

    (line,) = tracer.lines_of([process.pid])
    assert line["oom"]["memcg"]["path"] == line["cgroup"]["path"] == limited.path
    assert line["oom"]["memcg"]["limit"] == 24 << 20
