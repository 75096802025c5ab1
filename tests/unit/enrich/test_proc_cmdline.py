# SPDX-License-Identifier: Apache-2.0
"""Title or arguments of a victim from /proc, with a timeout."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.probe_events import kill

from ooMtrace import record
from ooMtrace.enrich.proc_cmdline import ARGS, PAUSE, SLOW_S, TIMEOUT_S, ProcCmdline, add_proc_cmdline
from ooMtrace.output.encode import encode

NOTHING = kill(process=record.Process(pid=100, tid=105, comm="worker"))
AT_EXEC = kill(
    process=record.Process(pid=100, tid=105, comm="worker", command_args=("worker", "--at-exec")),
    derived=("oom.scope", ARGS),
)


def left(proc: Path, cmdline: bytes, comm: bytes = b"worker\n", pid: int = 100, tid: int = 105) -> Path:
    """What /proc has of a process."""
    (proc / f"{pid}/task/{tid}").mkdir(parents=True)
    (proc / f"{pid}/task/{tid}/comm").write_bytes(comm)
    (proc / f"{pid}/cmdline").write_bytes(cmdline)
    return proc


def test_arguments_that_are_unknown_are_read_from_proc(tmp_path):
    found = add_proc_cmdline(left(tmp_path, b"worker\0--now\0"))(NOTHING)

    assert found == replace(NOTHING, process=replace(NOTHING.process, command_args=("worker", "--now")))


def test_current_arguments_replace_those_at_exec(tmp_path):
    found = add_proc_cmdline(left(tmp_path, b"worker\0--now\0"))(AT_EXEC)

    assert found.process.command_args == ("worker", "--now")
    assert found.derived == ("oom.scope",)


@pytest.mark.parametrize(
    ("cmdline", "title"),
    [
        (b"worker: 42 [1 of 2 busy]", "worker: 42 [1 of 2 busy]"),
        (b"worker: 42 busy\0", "worker: 42 busy"),
        (b"worker\0\0\0\0", "worker"),
        (b"\xff busy", "\\xff busy"),
    ],
)
def test_a_title_replaces_the_arguments_at_exec(tmp_path, cmdline, title):
    found = add_proc_cmdline(left(tmp_path, cmdline))(AT_EXEC)

    assert (found.process.title, found.process.command_args) == (title, None)
    assert found.derived == ("oom.scope",)


@pytest.mark.parametrize("before", [NOTHING, AT_EXEC])
def test_a_victim_that_has_exited_is_unchanged(tmp_path, before):
    assert add_proc_cmdline(tmp_path)(before) is before


@pytest.mark.parametrize("before", [NOTHING, AT_EXEC])
def test_a_victim_whose_memory_was_released_is_unchanged(tmp_path, before):
    assert add_proc_cmdline(left(tmp_path, b""))(before) is before


@pytest.mark.parametrize("comm", [b"other\n", b"\n", b"worker-2\n", b"worke\n"])
def test_another_process_with_a_reused_pid_is_ignored(tmp_path, comm):
    assert add_proc_cmdline(left(tmp_path, b"other\0", comm))(AT_EXEC) is AT_EXEC


def test_a_process_whose_marked_thread_has_exited_is_ignored(tmp_path):
    assert add_proc_cmdline(left(tmp_path, b"other\0", tid=100))(AT_EXEC) is AT_EXEC


@pytest.mark.parametrize(
    ("raw", "comm"),
    [(b"a\xff\n", "a\\xff"), ("naïve\n".encode(), "naïve"), (b"a\nb\n", "a\nb"), (b"a\n\n", "a\n"), (b" a \n", " a ")],
)
def test_a_hostile_name_is_compared_correctly(tmp_path, raw, comm):
    before = kill(process=record.Process(pid=100, tid=105, comm=comm))

    assert add_proc_cmdline(left(tmp_path, b"x\0", raw))(before).process.command_args == ("x",)


@pytest.mark.parametrize(
    "process",
    [
        record.Process(pid=100, tid=105, comm="worker", command_args=("known",)),
        record.Process(pid=100, tid=105, comm="worker", command_args=()),
        record.Process(pid=100, tid=105, comm="worker", title="known"),
        record.Process(tid=105, comm="worker"),
    ],
)
def test_nothing_is_read_if_it_is_known_or_the_pid_is_not(tmp_path, process):
    before = kill(process=process)

    assert add_proc_cmdline(left(tmp_path, b"worker\0"))(before) is before


@pytest.mark.parametrize(
    ("cmdline", "args", "truncated"),
    [
        (b"a\0" + b"b" * 4093 + b"\0", ("a", "b" * 4093), None),
        (b"a\0" + b"b" * 4094 + b"\0", ("a", "b" * 4094), (ARGS,)),
        (b"a\0" + b"b" * 9000 + b"\0", ("a", "b" * 4094), (ARGS,)),
    ],
)
def test_arguments_longer_than_4_kib_are_truncated_and_reported_as_such(tmp_path, cmdline, args, truncated):
    found = add_proc_cmdline(left(tmp_path, cmdline))(NOTHING)

    assert (found.process.command_args, found.truncated) == (args, truncated)


def test_arguments_truncated_at_exec_are_no_longer_truncated(tmp_path):
    before = replace(AT_EXEC, truncated=(ARGS, "process.connections"))

    proc = left(tmp_path, b"worker\0--now\0")
    assert add_proc_cmdline(proc)(before).truncated == ("process.connections",)
    assert add_proc_cmdline(proc)(replace(before, truncated=(ARGS,))).truncated is None


def test_other_truncated_facts_stay_truncated(tmp_path):
    before = replace(NOTHING, truncated=("process.connections",))

    found = add_proc_cmdline(left(tmp_path, b"a\0" + b"b" * 9000))(before)

    assert found.truncated == ("process.connections", ARGS)
    assert b'"truncated":["process.connections","process.command_args"]' in encode(found)


class Silent:
    """A process whose cmdline cannot be read in time: open(2) of a FIFO blocks until it has a writer."""

    def __init__(self, proc: Path) -> None:
        self.proc = left(proc, b"")
        self._fifo = proc / "100/cmdline"
        self._fifo.unlink()
        os.mkfifo(self._fifo)
        self._before = set(threading.enumerate())

    def readers(self) -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread not in self._before]

    def answer(self) -> None:
        """Give the readers an answer, and wait until they have ended."""
        hanging = self.readers()
        if hanging:
            with self._fifo.open("wb", buffering=0) as writer:
                writer.write(b"late\0")
        for thread in hanging:
            thread.join(10)
        assert self.readers() == []


@pytest.fixture
def silent(tmp_path: Path) -> Iterator[Silent]:
    process = Silent(tmp_path)
    yield process
    process.answer()


def test_a_read_that_hangs_delays_a_line_by_the_timeout_only(silent):
    start = time.monotonic()

    assert add_proc_cmdline(silent.proc)(AT_EXEC) is AT_EXEC
    assert TIMEOUT_S <= time.monotonic() - start < 10 * TIMEOUT_S


def test_a_read_that_hangs_does_not_prevent_the_process_from_exiting(silent):
    add_proc_cmdline(silent.proc)(AT_EXEC)

    assert [thread.daemon for thread in silent.readers()] == [True]


class ShiftedClock:
    """The real clock, and a time that the test lets pass."""

    shift_ns = 0

    def monotonic_ns(self) -> int:
        return time.monotonic_ns() + self.shift_ns

    def time_ns(self) -> int:
        return time.time_ns()

    def sleep(self, seconds: float) -> None:
        raise AssertionError(f"nothing sleeps {seconds} s")


OTHER = kill(process=record.Process(pid=200, tid=200, comm="worker"))


def test_while_one_read_hangs_no_other_is_started_and_nothing_waits(silent):
    left(silent.proc, b"other\0", pid=200, tid=200)
    enrich = add_proc_cmdline(silent.proc)
    enrich(AT_EXEC)
    start = time.monotonic()

    for _ in range(50):
        assert enrich(OTHER) is OTHER
        assert enrich(AT_EXEC) is AT_EXEC

    assert time.monotonic() - start < 10 * TIMEOUT_S
    assert len(silent.readers()) == 1


def test_after_a_read_has_returned_late_its_answer_is_discarded_and_reading_works_again(silent):
    left(silent.proc, b"other\0", pid=200, tid=200)
    clock = ShiftedClock()
    enrich = ProcCmdline(silent.proc, clock=clock).enrich
    first = enrich(AT_EXEC)
    silent.answer()
    clock.shift_ns += 100 * PAUSE * int(TIMEOUT_S * 1e9)

    assert enrich(OTHER).process.command_args == ("other",)
    assert first is AT_EXEC


class SlowProcess:
    """A clock on which every read takes this long: it is asked before and after each."""

    def __init__(self, seconds: float) -> None:
        self.step_ns, self.now_ns = int(seconds * 1e9), 0

    def monotonic_ns(self) -> int:
        self.now_ns += self.step_ns
        return self.now_ns

    def time_ns(self) -> int:
        raise AssertionError("the pause is on the monotonic clock")

    def sleep(self, _seconds: float) -> None:
        raise AssertionError("nothing sleeps")


@pytest.mark.parametrize(("seconds", "most"), [(SLOW_S * 1.1, 1000 // PAUSE + 1), (SLOW_S * 0.9, 1000)])
def test_reads_that_are_slow_take_a_tenth_of_the_time(tmp_path, seconds, most):
    clock = SlowProcess(seconds)
    enrich = ProcCmdline(left(tmp_path, b"worker\0"), clock=clock).enrich

    found = [enrich(NOTHING).process.command_args for _ in range(1000)]

    assert 0 < found.count(("worker",)) <= most
    assert (found.count(("worker",)) == 1000) is (most == 1000)


def test_a_victim_is_unchanged_if_no_thread_can_be_started(tmp_path, monkeypatch):
    def refuse(_):
        raise RuntimeError("cannot start new thread")

    proc = left(tmp_path, b"worker\0--now\0")
    monkeypatch.setattr(threading.Thread, "start", refuse)

    assert add_proc_cmdline(proc)(AT_EXEC) is AT_EXEC


@pytest.mark.parametrize(
    ("title", "truncated"), [(b"worker: busy", None), (b"worker: " + b"b" * 5000, ("process.title",))]
)
def test_a_title_that_is_padded_with_zeros_is_truncated_only_if_its_end_was_not_read(tmp_path, title, truncated):
    found = add_proc_cmdline(left(tmp_path, title + b"\0" * 5000))(NOTHING)

    assert found.process.title == title[:4096].decode()
    assert found.process.command_args is None
    assert found.truncated == truncated


def test_a_lone_word_without_its_zero_is_a_title(tmp_path):
    """A title may be one word; the kernel ends arguments with a zero."""
    process = add_proc_cmdline(left(tmp_path, b"busy"))(NOTHING).process

    assert (process.title, process.command_args) == ("busy", None)


def test_a_victim_that_has_exited_prints_nothing(tmp_path, monkeypatch):
    printed: list[object] = []
    monkeypatch.setattr(threading, "excepthook", printed.append)

    assert add_proc_cmdline(tmp_path)(NOTHING) is NOTHING
    assert printed == []


def test_a_line_waits_for_no_more_than_a_tenth_of_a_second():
    assert TIMEOUT_S <= 0.1
