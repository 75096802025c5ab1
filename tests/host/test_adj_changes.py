# SPDX-License-Identifier: Apache-2.0
"""`oomtrace scores --adj-changes` on this kernel: real writes, and what anybody can do to drown them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.tracer import COMMAND

from ooMtrace.kernel.features import observe
from ooMtrace.probe.loader import Probe
from ooMtrace.runtime.capabilities import needed
from ooMtrace.scores.adj_change import MAX_PROCESS_CHANGES
from ooMtrace.scores.adj_plan import adj_plan, read_format
from ooMtrace.scores.adj_source import AdjSource

TIMEOUT_S = 60
STORM_S = 1.5
NOBODY = 65534
CLONE_VM = 0x100
SHARE_MEMORY = f"""
import ctypes, os, signal
libc = ctypes.CDLL(None)
libc.clone.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p]
stack = ctypes.create_string_buffer(1 << 20)
end = (ctypes.addressof(stack) + len(stack)) & ~15
print(libc.clone(ctypes.cast(libc.pause, ctypes.c_void_p), end, {CLONE_VM} | signal.SIGCHLD, None), flush=True)
input()
"""
Line = dict[str, Any]


class Changes:
    """The command in a process of its own, which writes its lines and messages to files."""

    def __init__(self, folder: Path) -> None:
        self._out, self._err = folder / "out", folder / "err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen([COMMAND, "scores", "--adj-changes", "--json"], stdout=out, stderr=err)
        self.wait(lambda: "tracing changes" in self.messages())

    def wait(self, done: Callable[[], object]) -> None:
        deadline = time.monotonic() + TIMEOUT_S
        while not done():
            assert self.process.poll() is None, self.messages()
            assert time.monotonic() < deadline, "nothing came"
            time.sleep(0.02)

    def messages(self) -> str:
        return self._err.read_text()

    def lines(self) -> list[Line]:
        return [json.loads(line) for line in self._out.read_bytes().split(b"\n")[:-1]]

    def of(self, pid: int) -> list[Line]:
        return [line for line in self.lines() if line["target"]["pid"] == pid]


@pytest.fixture(scope="module")
def sleeper() -> Iterator[int]:
    """A process that is there before the tracer."""
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process.pid
        process.kill()


@pytest.fixture(scope="module")
def changes(tmp_path_factory, sleeper) -> Iterator[Changes]:
    running = Changes(tmp_path_factory.mktemp("adj"))
    yield running
    if running.process.poll() is None:
        running.process.kill()
    running.process.wait()


def write(pid: int | str, value: int) -> None:
    Path(f"/proc/{pid}/oom_score_adj").write_text(str(value))


def test_only_the_capabilities_to_read_perf_buffers_are_kept(changes):
    status = Path(f"/proc/{changes.process.pid}/status").read_text()
    kept = sum(1 << one for one in needed(network=False, files=False, has_bpf=True))

    assert int(re.findall(r"^CapPrm:\t(.*)$", status, re.MULTILINE)[0], 16) & ~kept == 0


def test_a_change_of_another_process_names_both_and_both_values(changes, sleeper):
    old = int(Path(f"/proc/{sleeper}/oom_score_adj").read_text())
    write(sleeper, 123)
    write(f"{sleeper}/task/{sleeper}", 124)
    changes.wait(lambda: len(changes.of(sleeper)) == 2)

    first, second = changes.of(sleeper)
    assert (first["before"], first["after"], second["before"], second["after"]) == (old, 123, 123, 124)
    assert first["writer"] == {
        "pid": os.getpid(),
        "tid": os.getpid(),
        "comm": Path("/proc/self/comm").read_text()[:-1],
        "uid": os.getuid(),
    }
    assert first["target"] == {"pid": sleeper, "tid": sleeper, "comm": "sleep", "uid": os.getuid()}
    assert "skipped" not in first


def test_a_users_change_of_its_own_value_is_reported_without_the_value_that_it_inherited(changes):
    process = subprocess.Popen(
        ["sh", "-c", "echo 300 > /proc/self/oom_score_adj"], user=NOBODY, group=NOBODY, extra_groups=[]
    )
    process.wait()
    changes.wait(lambda: changes.of(process.pid))

    (line,) = changes.of(process.pid)
    assert line["writer"] == line["target"]
    assert line["target"]["uid"] == NOBODY
    assert line["after"] == 300
    assert "before" not in line


def test_a_storm_of_forks_reports_nothing_of_the_children_that_inherit_a_value(changes):
    """The kernel passes the value on without an event: copy_signal() and copy_oom_score_adj() in kernel/fork.c."""
    code = "for i in $(seq 300); do (:) & done; wait; echo 401 > /proc/self/oom_score_adj"
    storm = subprocess.Popen(["sh", "-c", code])
    storm.wait()
    changes.wait(lambda: changes.of(storm.pid))
    made = [line for line in changes.lines() if line["writer"]["pid"] == storm.pid]

    assert [line["after"] for line in made] == [401]


def test_a_process_that_shares_the_memory_of_another_gets_its_value_without_a_report(changes):
    with subprocess.Popen(
        ["python3", "-c", SHARE_MEMORY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        other = int(process.stdout.readline())
        try:
            write(process.pid, 321)
            write(process.pid, 322)
            changes.wait(lambda: len(changes.of(process.pid)) == 2)
            shared = int(Path(f"/proc/{other}/oom_score_adj").read_text())
        finally:
            os.kill(other, signal.SIGKILL)
            process.kill()

    assert shared == 322
    assert changes.of(other) == []


def test_a_loop_is_cut_short_and_counted_and_hides_no_other_process(changes, sleeper):
    code = (
        "import sys, time\nend = time.monotonic() + float(sys.argv[1])\nfile = open('/proc/self/oom_score_adj', 'w')\n"
    )
    code += "count = 0\nwhile time.monotonic() < end:\n  file.write('400'); file.flush(); file.seek(0); count += 1\n"
    code += "print(count)"
    before = len(changes.of(sleeper))
    with subprocess.Popen(["python3", "-c", code, str(STORM_S)], stdout=subprocess.PIPE, text=True) as loop:
        time.sleep(STORM_S / 2)
        write(sleeper, 200)
        assert loop.stdout
        written = int(loop.stdout.read())
    changes.wait(lambda: len(changes.of(sleeper)) > before)
    changes.wait(lambda: "are not reported" in changes.messages())

    assert written > 20 * MAX_PROCESS_CHANGES
    assert 0 < len(changes.of(loop.pid)) <= MAX_PROCESS_CHANGES * 4
    assert changes.of(sleeper)[-1]["after"] == 200


def test_it_ends_with_the_reader_of_its_output_or_a_signal(changes):
    command = f"{COMMAND} scores --adj-changes | head -c 1"
    with subprocess.Popen(["sh", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as piped:
        assert piped.stderr
        assert b"tracing changes" in piped.stderr.readline()
        write(os.getpid(), int(Path("/proc/self/oom_score_adj").read_text()))
        assert piped.wait(TIMEOUT_S) == 0
    changes.process.send_signal(signal.SIGTERM)

    assert changes.process.wait(TIMEOUT_S) == 0


def test_the_tracepoints_record_gives_the_same_without_type_information(sleeper):
    record = read_format()
    if not record:
        pytest.skip("/sys/kernel/tracing cannot be read")
    blind = replace(observe(), btf_error="hidden by the test", offsets=None)
    with closing(Probe(adj_plan(blind, record), blind.release)) as probe:
        source = AdjSource(probe, pytest.fail, dict)
        write(sleeper, 55)
        found = [change for change in source.changes() if change.target.tid == sleeper]

    assert [(change.after, change.before, change.target.pid, change.target.comm) for change in found] == [
        (55, None, None, "sleep")
    ]
    assert found[0].writer.pid == os.getpid()


@pytest.mark.parametrize(
    ("options", "user", "status", "message"),
    [
        (["--watch"], 0, 2, "--watch has no effect with --adj-changes"),
        (["--pid", "0"], 0, 2, "--pid has no effect with --adj-changes"),
        ([], NOBODY, 77, "loading BPF programs requires CAP_BPF"),
    ],
)
def test_what_is_impossible_is_refused_in_one_line(options, user, status, message):
    done = subprocess.run(
        [COMMAND, "scores", "--adj-changes", *options],
        user=user,
        group=user,
        extra_groups=[],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (status, "")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
