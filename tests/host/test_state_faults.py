# SPDX-License-Identifier: Apache-2.0
"""A state directory that fails costs no line: one message, and another one when it works again."""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from support.dialogue import wait_until
from support.storm import storm
from support.tracer import Line, RunningTracer, victim_of
from support.witness import oom_kill_count

SAVED_AGAIN = "the checkpoint is saved again"


def mount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "oomtrace-test", folder], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Return a file system of its own, with room for what a test leaves free."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount(folder, "size=64k,nr_inodes=16")
    folder.chmod(0o700)
    yield folder
    subprocess.run(["umount", folder], check=True)


def position(state: Path) -> int:
    found = re.search(r"^oom_kill ([0-9]+)$", (state / "checkpoint").read_text(), re.MULTILINE)
    assert found
    return int(found[1])


def numbers(lines: Iterable[Line]) -> list[int]:
    return [line["oom"]["number"] for line in lines if line["event"] == "oom_kill" and "number" in line["oom"]]


def about_state(tracer: RunningTracer) -> list[str]:
    """Return the messages about the state directory."""
    return [line for line in tracer.messages().splitlines() if "checkpoint" in line or "/disk" in line]


Fault = Callable[[Path, RunningTracer], Callable[[], object]]
"""Breaks the state directory of a tracer; what it returns repairs it."""


def full(disk: Path, _: RunningTracer) -> Callable[[], object]:
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return ballast.unlink


def without_inodes(disk: Path, _: RunningTracer) -> Callable[[], object]:
    folder = disk / "many"
    try:
        folder.mkdir()
        for number in range(100):
            (folder / f"{number}").touch()
    except OSError:
        return lambda: shutil.rmtree(folder)
    raise AssertionError("there are inodes left")


def read_only(disk: Path, _: RunningTracer) -> Callable[[], object]:
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    return lambda: subprocess.run(["mount", "-o", "remount,rw", disk], check=True)


def replaced(make: Callable[[Path], object]) -> Fault:
    def replace(disk: Path, _: RunningTracer) -> Callable[[], object]:
        shutil.rmtree(disk / "state")
        make(disk / "state")
        return (disk / "state").unlink

    return replace


def out_of_files(_: Path, tracer: RunningTracer) -> Callable[[], object]:
    pid = tracer.process.pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, before[1]))
    return lambda: resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize(
    "fault",
    [
        full,
        without_inodes,
        read_only,
        replaced(lambda path: path.symlink_to("/tmp")),
        replaced(os.mkfifo),
        replaced(lambda path: path.write_text("file")),
        out_of_files,
    ],
    ids=["full", "no inodes", "read-only", "symbolic link", "FIFO", "file", "too many open files"],
)
def test_a_checkpoint_that_cannot_be_saved_costs_no_line_and_is_saved_later(tmp_path, program, cgroup, disk, fault):
    state, scratch = disk / "state", cgroup()
    first = oom_kill_count()
    # Without files, the kernel's counter cannot be read either.
    with RunningTracer(tmp_path, "--state", str(state), "--no-network", repairs=fault is out_of_files) as tracer:
        tracer.lines_of(storm(program, scratch, 3))
        repair = fault(disk, tracer)
        try:
            for _ in range(3):
                tracer.lines_of(storm(program, scratch, 20))
                time.sleep(1.2)
            assert len(about_state(tracer)) == 1, about_state(tracer)
            assert "cannot save the checkpoint (" in about_state(tracer)[0]
        finally:
            repair()
        time.sleep(1.2)
        killed = storm(program, scratch, 5)
        tracer.lines_of(killed)
        wait_until(lambda: SAVED_AGAIN in tracer.messages())
        wait_until(lambda: position(state) >= max(numbers(tracer.lines_of(killed))))
    assert len(about_state(tracer)) == 2, about_state(tracer)
    written = numbers(tracer.lines())
    assert len(set(written)) == len(written)
    assert min(written) > first

    with RunningTracer(tmp_path, "--state", str(state), repairs=True) as again:
        seen = again.lines()
    assert len({line["id"] for line in seen}) == len(seen), "reported twice"


def test_a_directory_that_is_removed_under_load_is_created_again(tmp_path, program, cgroup, disk):
    state, scratch = disk / "state", cgroup()
    with RunningTracer(tmp_path, "--state", str(state)) as tracer:
        killed = []
        for _ in range(10):
            killed += storm(program, scratch, 20)
            shutil.rmtree(state, ignore_errors=True)
        killed += storm(program, scratch, 1)
        lines = tracer.lines_of(killed)
        wait_until(lambda: (state / "checkpoint").exists() and position(state) >= max(numbers(lines)))
    written = [victim_of(line) for line in tracer.lines() if victim_of(line) in killed]
    assert Counter(written) == Counter(killed)
    assert "Traceback" not in tracer.messages()


@pytest.mark.parametrize("options", ["size=4k", "nr_inodes=1", "nr_inodes=2", "size=4k,nr_inodes=2"])
def test_a_disk_that_is_too_small_from_the_start_costs_one_message(tmp_path, program, cgroup, options):
    state = tmp_path / "disk"
    state.mkdir()
    mount(state, f"{options},mode=700")
    try:
        with RunningTracer(tmp_path, "--state", str(state)) as tracer:
            tracer.lines_of(storm(program, cgroup(), 30))
            time.sleep(1.5)
            tracer.lines_of(storm(program, cgroup(), 30))
        (message,) = about_state(tracer)
        assert "No space left on device" in message
    finally:
        subprocess.run(["umount", state], check=True)


def test_what_a_read_only_state_directory_has_is_still_read(tmp_path, program, cgroup, disk):
    state, scratch = disk / "state", cgroup()
    with RunningTracer(tmp_path, "--state", str(state)) as tracer:
        tracer.lines_of(storm(program, scratch, 1))
    missed = storm(program, scratch, 1)
    repair = read_only(disk, tracer)
    try:
        with RunningTracer(tmp_path, "--state", str(state), repairs=True) as tracer:
            tracer.lines_of(missed)
        assert len(about_state(tracer)) == 1, about_state(tracer)
    finally:
        repair()


def test_a_missing_directory_on_a_read_only_disk_costs_one_message(tmp_path, program, cgroup, disk):
    repair = read_only(disk, RunningTracer(tmp_path))
    try:
        with RunningTracer(tmp_path, "--state", str(disk / "state")) as tracer:
            tracer.lines_of(storm(program, cgroup(), 3))
        (message,) = about_state(tracer)
    finally:
        repair()
    assert message == (
        f"oomtrace: {disk}/state: Read-only file system; tracing without the checkpoint; "
        "kills since the last run cannot be reported: see `oomtrace logs`"
    )
