# SPDX-License-Identifier: Apache-2.0
"""An output that fails loses no line, or reports how many: lines + reported losses == kills, always."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path

import pytest
from support.dialogue import wait_until
from support.storm import Storm, storm
from support.tracer import Line, RunningTracer, parsed, repairs, victim_of
from support.witness import oom_kill_count

DRAIN_S = 5
"""How long the tracer waits for its reader at the end."""

QUEUE = 4 << 20
SLACK = 4 << 20
PIPE = 64 << 10
BLOCKED_S = 60


def pids(lines: bytes, killed: Collection[int]) -> list[int]:
    """Return the pids of these victims in the order of their lines; what follows the last newline is not a line."""
    return [pid for pid in map(victim_of, parsed(lines)) if pid is not None and pid in killed]


class Account:
    """Lines + reported losses == kills. Other processes may die meanwhile, and their losses are reported, too."""

    def __init__(self) -> None:
        self._before = oom_kill_count()

    def check(self, tracer: RunningTracer, killed: list[int], lines: bytes) -> str:
        """Compare; return the figures."""
        written, records = pids(lines, killed), parsed(lines)
        traced = [victim_of(line) for line in records if line.get("fidelity") != "log" and victim_of(line) in killed]
        assert len(set(written)) == len(written)
        found = re.findall(r"^oomtrace: (\d+) lines could not be written;", tracer.messages(), re.MULTILINE)
        reported = sum(map(int, found)) + sum(line["lost"]["count"] for line in records if line["event"] == "oom_lost")
        lost = len(killed) - len(written)
        others = oom_kill_count() - self._before - len(killed)
        assert lost <= reported <= lost + others
        return (
            f"{len(killed)} kills, {len(traced)} lines, {len(written) - len(traced)} more from the kernel log, "
            f"{reported} reported as lost, {others} others died"
        )


class Disk:
    """A small file system that may be full."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self, but: int) -> None:
        there = os.statvfs(self.folder)
        self._ballast.write_bytes(bytes(there.f_bavail * there.f_frsize - but))

    def free(self) -> None:
        self._ballast.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "oomtrace-test", folder], check=True)
    yield Disk(folder)
    subprocess.run(["umount", folder], check=True)


class Pipe:
    """A pipe without a reader until `collect`."""

    def __init__(self) -> None:
        self.read, self.write = os.pipe()

    def close_write(self) -> None:
        os.close(self.write)

    def collect(self) -> Callable[[], bytes]:
        """Read to the end in the background; the function returned waits for that."""
        got = bytearray()
        reader = threading.Thread(target=self._read, args=(got,), daemon=True)
        reader.start()

        def result() -> bytes:
            reader.join(60)
            assert not reader.is_alive()
            return bytes(got)

        return result

    def _read(self, got: bytearray) -> None:
        while piece := os.read(self.read, 1 << 16):
            got += piece


@contextmanager
def piped(folder: Path, *options: str, repairs: bool = False) -> Iterator[tuple[RunningTracer, Pipe]]:
    pipe = Pipe()
    try:
        with RunningTracer(folder, *options, stdout=pipe.write, repairs=repairs) as tracer:
            pipe.close_write()
            yield tracer, pipe
    finally:
        os.close(pipe.read)


def test_a_full_disk_loses_no_line_and_a_partial_line_is_completed(tmp_path, cgroup, program, disk):
    with RunningTracer(tmp_path, output=disk.folder / "lines") as tracer:
        disk.fill(but=20 << 10)
        killed = storm(program, cgroup(), 100)
        wait_until(lambda: "No space left" in tracer.messages())
        time.sleep(2.5)  # two attempts
        full = tracer.output.read_bytes()
        assert 0 < len(full) <= 20 << 10
        assert not full.endswith(b"\n")

        disk.free()
        tracer.lines_of(killed)

    assert pids(tracer.output.read_bytes(), killed) == killed
    assert [line for line in tracer.messages().splitlines() if str(tracer.output) in line] == [
        f"oomtrace: {tracer.output}: No space left on device; lines are kept in memory until it can be written",
        f"oomtrace: {tracer.output}: works again",
    ]


def test_a_stop_with_a_full_disk_reports_the_loss_and_the_next_run_begins_on_a_new_line(
    tmp_path, cgroup, program, disk
):
    limited, account = cgroup(), Account()
    with RunningTracer(tmp_path, output=disk.folder / "lines") as first:
        disk.fill(but=20 << 10)
        killed = storm(program, limited, 30)
        wait_until(lambda: "No space left" in first.messages())
        first.exit_code = 1
    before = first.output.read_bytes()
    account.check(first, killed, before)
    assert not before.endswith(b"\n")

    disk.free()
    with RunningTracer(tmp_path, output=first.output) as second:
        after = storm(program, limited, 3)

    added = second.output.read_bytes()[len(before) :]
    assert added.startswith(b"\n{")
    assert pids(added[1:], after) == after


def test_a_pipe_blocked_for_a_minute_costs_bounded_memory_and_reports_the_loss(tmp_path, cgroup, program):
    account, begin = Account(), time.monotonic()
    # a victim in another network namespace would make it load pyroute2
    with piped(tmp_path, "--no-network", repairs=True) as (tracer, pipe):
        limited = cgroup()
        killed = storm(program, limited, 50)
        before = resident(tracer)
        killed += storm(program, limited, 1500, more="x" * 2000)
        time.sleep(2)
        idle, kills = switches(tracer), oom_kill_count()
        time.sleep(max(1, begin + BLOCKED_S - time.monotonic()))
        assert switches(tracer) - idle <= 10 * (oom_kill_count() - kills)  # only a kill wakes it up
        grown = resident(tracer) - before

        until = oom_kill_count()
        collect = pipe.collect()
        tracer.stop()
        got = collect()

    print(f"\nblocked: {grown >> 10} KiB more resident, {account.check(tracer, killed, got)}")
    assert grown <= QUEUE + SLACK
    assert got.endswith(b"\n")
    lines = zip(got.splitlines(keepends=True), parsed(got), strict=True)
    queued = sum(
        len(raw) for raw, _ in takewhile(lambda line: line[1]["fidelity"] != "log" and number(line[1]) <= until, lines)
    )
    assert QUEUE - 10_000 < queued <= QUEUE + PIPE + 10_000
    assert any(line["event"] == "oom_lost" or line["fidelity"] == "log" for line in parsed(got))


def number(line: Line) -> int:
    """Return the kill's ordinal; 0 if the kernel did not count it."""
    ordinal: int = line.get("oom", {}).get("number", 0)
    return ordinal


def resident(tracer: RunningTracer) -> int:
    """Return bytes, without those of files, which other processes share."""
    status = Path(f"/proc/{tracer.process.pid}/status").read_text()
    return int(re.findall(r"RssAnon:\s+(\d+) kB", status)[0]) << 10


def switches(tracer: RunningTracer) -> int:
    """Return how often it has slept and woken up."""
    return int(re.findall(r"\nvoluntary_\w+:\s+(\d+)", Path(f"/proc/{tracer.process.pid}/status").read_text())[0])


def test_a_reader_that_resumes_gets_every_line_in_order(tmp_path, cgroup, program):
    with piped(tmp_path) as (tracer, pipe):
        limited = cgroup()
        killed = storm(program, limited, 300)
        collect = pipe.collect()
        killed += storm(program, limited, 100)
        tracer.stop()
        got = collect()
        tracer.check(got)

    assert got.endswith(b"\n")
    assert pids(got, killed) == killed


def test_a_stop_does_not_wait_for_a_blocked_reader(tmp_path, cgroup, program):
    account = Account()
    with piped(tmp_path) as (tracer, pipe):
        killed = storm(program, cgroup(), 100)
        tracer.exit_code = 1
        begin = time.monotonic()
        tracer.stop()
        took = time.monotonic() - begin
        got = pipe.collect()()

    print(f"\nend: {took:.1f} s, {account.check(tracer, killed, got)}")
    assert DRAIN_S <= took < 10 * DRAIN_S
    assert len(pids(got, killed)) < len(killed)
    assert re.fullmatch(r"oomtrace: \d+ lines could not be written; .*", tracer.messages().splitlines()[-1])


def test_a_removed_file_is_created_again(tmp_path, cgroup, program):
    limited = cgroup()
    with RunningTracer(tmp_path, repairs=True) as tracer:
        before = storm(program, limited, 20)
        tracer.lines_of(before)
        with tracer.output.open("rb") as removed:
            tracer.output.unlink()
            after = storm(program, limited, 20)
            tracer.lines_of(after)
            first = removed.read()
            assert pids(first, before) == before

    assert not repairs(parsed(first + tracer.output.read_bytes()), tracer.reached_level())
    assert pids(tracer.output.read_bytes(), {*before, *after}) == after
    assert tracer.messages().count("was removed; recreated") == 1


def test_lines_wait_for_a_removed_folder(tmp_path, cgroup, program):
    folder = tmp_path / "folder"
    folder.mkdir()
    with RunningTracer(tmp_path, output=folder / "lines", repairs=True) as tracer, tracer.output.open("rb") as removed:
        tracer.output.unlink()
        folder.rmdir()
        killed = storm(program, cgroup(), 50)
        wait_until(lambda: "No such file or directory; lines are kept" in tracer.messages())

        folder.mkdir()
        wait_until(tracer.output.exists)
        tracer.lines_of(killed)
        others = removed.read()

    assert not repairs(parsed(others + tracer.output.read_bytes()), tracer.reached_level())
    assert pids(tracer.output.read_bytes(), killed) == killed
    assert tracer.messages().count("works again") == 1


def test_files_reopened_in_a_storm_have_each_line_once_and_whole(tmp_path, cgroup, program):
    killed: list[int] = []
    with RunningTracer(tmp_path, repairs=True) as tracer, Storm(program, cgroup(), 400) as running:
        for number in range(10):
            killed += running.take(30)
            tracer.output.rename(tmp_path / f"lines.{number}")
            tracer.process.send_signal(signal.SIGHUP)
            wait_until(tracer.output.exists)
        killed += running.rest()

    files = [file.read_bytes() for file in (*(tmp_path / f"lines.{number}" for number in range(10)), tracer.output)]
    written = [lines for lines in files if lines]  # on a busy machine no line may come between two hangups
    assert len(written) > 1
    assert all(lines.endswith(b"\n") for lines in written)
    # a line may wait for its context, and come after the next hangup: only all files together are complete
    assert not repairs(parsed(b"".join(written)), tracer.reached_level())
    assert [pid for lines in written for pid in pids(lines, killed)] == killed
    assert len(killed) == 400


def test_a_hangup_that_cannot_open_the_file_keeps_the_old_file(tmp_path, cgroup, program):
    folder, moved = tmp_path / "folder", tmp_path / "moved"
    folder.mkdir()
    with RunningTracer(tmp_path, output=folder / "lines") as tracer:
        folder.rename(moved)
        tracer.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "the file that was open before" in tracer.messages())
        killed = storm(program, cgroup(), 20)
        tracer.output = moved / "lines"  # is checked at the end

    assert pids(tracer.output.read_bytes(), killed) == killed


def test_a_stop_in_the_middle_of_a_storm_has_all_kills_before_it(tmp_path, cgroup, program):
    with RunningTracer(tmp_path) as tracer, Storm(program, cgroup(), 2000, at_once=2) as running:
        before = running.take(150)
        assert tracer.stop() == 0
        assert running.take(1)

    got = tracer.output.read_bytes()
    assert got.endswith(b"\n")
    assert sorted(pids(got, before)) == sorted(before)
