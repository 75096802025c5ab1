# SPDX-License-Identifier: Apache-2.0
"""SIGKILLs from user space, sent for real: the right victim and the right sender, and nothing else."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.dialogue import wait_until
from support.tracer import RunningTracer

KILLS = 20
UNIFIED = Path("/sys/fs/cgroup/unified")
KILLER = """
import ctypes, os, sys, threading
comm, uid, method = sys.argv[1].encode(), int(sys.argv[2]), sys.argv[3]
ctypes.CDLL(None).prctl(15, comm, 0, 0, 0)
if uid:
    os.setuid(uid)
for pid in map(int, sys.argv[4:]):
    if method == "kill":
        os.kill(pid, 9)
    else:
        for tid in sorted(map(int, os.listdir(f"/proc/{pid}/task")), reverse=True):
            ctypes.CDLL(None).syscall(234, pid, tid, 9)
input()
"""
THREADS = """
import threading, time
for _ in range(7):
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
print(len(threading.enumerate()), flush=True)
time.sleep(60)
"""


@contextmanager
def killer(comm: str, *pids: int, uid: int = 0, method: str = "kill") -> Iterator[int]:
    """Start a process of this name that sends SIGKILL to others and stays; yield its pid."""
    command = [sys.executable, "-I", "-S", "-c", KILLER, comm, str(uid), method, *map(str, pids)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        yield process.pid
        process.kill()


@contextmanager
def sleepers(count: int, uid: int | None = None) -> Iterator[list[subprocess.Popen[bytes]]]:
    started = [subprocess.Popen(["sleep", "60"], user=uid) for _ in range(count)]
    for process in started:
        wait_until(lambda: Path(f"/proc/{process.pid}/comm").read_text() == "sleep\n")  # noqa: B023
    try:
        yield started
    finally:
        for process in started:
            process.kill()
            process.wait()


def test_with_all_every_kill_has_its_victim_and_its_sender(tmp_path):
    with RunningTracer(tmp_path, "--sigkill", "all") as tracer, sleepers(KILLS) as victims:
        pids = [process.pid for process in victims]
        with killer("some-process", *pids) as sender:
            lines = tracer.lines_of(pids)

    assert [line["process"]["pid"] for line in lines] == pids
    for line in lines:
        assert line["event"] == "sigkill"
        assert line["process"]["command_args"] == ["sleep", "60"]
        assert line["process"]["parent"]["pid"] == os.getpid()
        assert line["sigkill"]["sender"]["pid"] == sender
        assert line["sigkill"]["sender"]["comm"] == "some-process"
        assert line["sigkill"]["sender"]["user"] == {"id": 0, "name": "root"}
        assert line["sigkill"]["sender"]["executable"]["path"] == os.path.realpath(sys.executable)
        assert "via_cgroup_kill" not in line["sigkill"]
    assert len({line["sigkill"]["incident"] for line in lines}) == 1
    assert lines[0]["message"] == f"sleep (pid {pids[0]}) was killed by some-process (pid {sender}): SIGKILL"


def test_by_default_the_kills_of_memory_killers_are_reported_and_no_others(tracer):
    with sleepers(2) as (ordinary, victim):
        ordinary.kill()
        ordinary.wait()
        with killer("earlyoom", victim.pid) as sender:
            (line,) = tracer.lines_of([victim.pid])
        assert line["sigkill"]["sender"]["pid"] == sender
        assert [found for found in tracer.lines() if found.get("process", {}).get("pid") == ordinary.pid] == []


def test_a_name_of_the_list_counts_for_system_accounts_only_and_the_operators_for_all(tmp_path):
    with RunningTracer(tmp_path, "--memory-killer", "a-longer-name-than-15") as tracer:
        with sleepers(2, uid=1000) as (forged, victim):
            with killer("earlyoom", forged.pid, uid=1000):
                forged.wait()
            with killer("a-longer-name-than-15", victim.pid, uid=1000) as sender:
                (line,) = tracer.lines_of([victim.pid])
        assert line["sigkill"]["sender"]["pid"] == sender
        assert line["sigkill"]["sender"]["comm"] == "a-longer-name-t"
        assert line["sigkill"]["sender"]["user"]["id"] == 1000
        assert [found for found in tracer.lines() if found.get("process", {}).get("pid") == forged.pid] == []


@pytest.mark.parametrize("method", ["kill", "tgkill"])
def test_a_process_with_eight_threads_has_one_line(tmp_path, method):
    command = [sys.executable, "-I", "-S", "-c", THREADS]
    with (
        RunningTracer(tmp_path, "--sigkill", "all") as tracer,
        sleepers(1) as (after,),
        subprocess.Popen(command, stdout=subprocess.PIPE) as victim,
    ):
        assert victim.stdout
        assert victim.stdout.readline() == b"8\n"
        with killer("some-process", victim.pid, method=method):
            victim.wait()
        after.kill()
        lines = tracer.lines_of([victim.pid, after.pid])

    (line,) = [line for line in lines if line["process"]["pid"] == victim.pid]
    assert line["process"]["threads"] == 8


def test_a_signal_to_a_zombie_has_no_second_line(tmp_path):
    with RunningTracer(tmp_path, "--sigkill", "all") as tracer, sleepers(2) as (victim, after):
        os.kill(victim.pid, signal.SIGKILL)
        os.waitid(os.P_PID, victim.pid, os.WEXITED | os.WNOWAIT)
        os.kill(victim.pid, signal.SIGKILL)
        os.kill(after.pid, signal.SIGKILL)
        lines = tracer.lines_of([victim.pid, after.pid])

    assert [line["process"]["pid"] for line in lines] == [victim.pid, after.pid]


def test_an_oom_kill_is_no_sigkill(tmp_path, cgroup, victim):
    with RunningTracer(tmp_path, "--sigkill", "all") as tracer, sleepers(1) as (after,):
        process = victim("hog", cgroup(24)).go()
        process.end()
        after.kill()
        lines = tracer.lines_of([process.pid, after.pid])

    assert [line["event"] for line in lines if line["process"]["pid"] == process.pid] == ["oom_kill"]


@pytest.fixture
def unified() -> Iterator[Path]:
    """A cgroup of version 2 with one below it."""
    if not (UNIFIED / "cgroup.procs").exists():
        pytest.skip(f"version 2 is not mounted at {UNIFIED}")
    folder = UNIFIED / f"oomtrace-sigkill-{os.getpid()}"
    (folder / "below").mkdir(parents=True)
    yield folder
    for each in (folder / "below", folder):
        wait_until(lambda: not (each / "cgroup.procs").read_text())  # noqa: B023
        each.rmdir()


@pytest.mark.parametrize("level", ["full", "minimal"])
def test_a_write_to_cgroup_kill_is_recognized_and_is_one_incident(tmp_path, unified, level):
    with RunningTracer(tmp_path, "--sigkill", "all", "--level", level) as tracer, sleepers(3) as (first, second, other):
        (unified / "cgroup.procs").write_text(str(first.pid))
        (unified / "below/cgroup.procs").write_text(str(second.pid))
        (unified / "cgroup.kill").write_text("1")
        time.sleep(0.2)
        other.kill()
        found = {line["process"]["tid"]: line for line in tids(tracer, [first.pid, second.pid, other.pid])}

    for process in (first, second):
        line = found[process.pid]
        assert line["sigkill"]["via_cgroup_kill"] is True
        assert line["sigkill"]["sender"]["pid"] == os.getpid()
        assert line["message"].endswith("SIGKILL through cgroup.kill")
    assert found[first.pid]["sigkill"]["incident"] == found[second.pid]["sigkill"]["incident"]
    assert "via_cgroup_kill" not in found[other.pid]["sigkill"]
    if level == "full":
        assert found[second.pid]["cgroup"]["v2"]["path"] == f"/{unified.name}/below"


def tids(tracer: RunningTracer, pids: list[int]) -> list[dict]:
    """Wait for lines of these processes; at level `minimal` only the thread may be known."""
    wait_until(lambda: {line["process"].get("tid") for line in sigkills(tracer)} >= set(pids))
    return sigkills(tracer)


def sigkills(tracer: RunningTracer) -> list[dict]:
    return [line for line in tracer.lines() if line["event"] == "sigkill"]


@pytest.fixture(scope="module")
def earlyoom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Debian's earlyoom, unpacked and not installed."""
    if not shutil.which("apt-get"):
        pytest.skip("there is no apt-get")
    folder = tmp_path_factory.mktemp("earlyoom")
    done = subprocess.run(["apt-get", "download", "earlyoom"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (package,) = folder.glob("*.deb")
    subprocess.run(["dpkg", "-x", package, folder / "root"], check=True)
    return folder / "root/usr/bin/earlyoom"


def test_a_kill_by_earlyoom_names_it(tracer, earlyoom):
    """In a pid namespace of its own: it sees, and can kill, only what was started there.

    It acts when less than all memory is available, and prefers `sleep`: it does nothing where it finds itself larger.
    """
    total_kib = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 1024
    options = f"-M {total_kib},{total_kib} -s 100,100 -r 0 --prefer '^sleep$'"
    script = f'sleep 60 & victim=$!; "$0" {options} & killer=$!; wait $victim; kill $killer; wait'
    names = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script, earlyoom]
    with subprocess.Popen(names, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        process.wait(60)
        wait_until(lambda: any(line["sigkill"]["sender"]["comm"] == "earlyoom" for line in sigkills(tracer)))

    line = next(line for line in sigkills(tracer) if line["sigkill"]["sender"]["comm"] == "earlyoom")
    assert line["process"]["comm"] == "sleep"
    assert line["process"]["command_args"] == ["sleep", "60"]
    assert line["process"]["vpid"] != line["process"]["pid"]
    assert line["sigkill"]["sender"]["vpid"] != line["sigkill"]["sender"]["pid"]
    assert line["sigkill"]["sender"].get("executable", {}).get("path") in (None, str(earlyoom))
    assert "earlyoom (pid" in line["message"]
