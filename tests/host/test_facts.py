# SPDX-License-Identifier: Apache-2.0
"""Facts of a line that the kernel log does not have, against /proc before the kill and the cgroup's files after it."""

from __future__ import annotations

import os
import pwd
import re
import signal
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from support.dialogue import wait_until
from support.tracer import Line, RunningTracer
from support.victims import Victim
from support.witness import oom_kill_count

from ooMtrace.kernel.scratch_cgroup import ScratchCgroup

PAGE = os.sysconf("SC_PAGE_SIZE")
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
CLOCK_ERROR_S = 0.02
COUNTERS = 64 * PAGE * (os.cpu_count() or 1)
"""By how much /proc/PID/status may be off: it adds up no counters of single CPUs."""

REAL, EFFECTIVE = 1000, 1001
MIB = 1 << 20


def status(pid: int) -> dict[str, str]:
    return dict(re.findall(r"^(\w+):\t\s*(.*)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE))


def sizes(pid: int) -> dict[str, int]:
    """Return the sizes in a status, in bytes."""
    return {name: int(text[:-3]) * 1024 for name, text in status(pid).items() if text.endswith(" kB")}


def started_at(pid: int) -> float:
    """Return when a process started (field 22 of its stat), in seconds since 1970."""
    ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[22 - 3])
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + ticks * TICK_S


def seconds(timestamp: str) -> float:
    return datetime.strptime(timestamp, "%Y-%m-%dT%H:%M:%S.%f%z").timestamp()


def assert_near(got: int, expected: int, by: float) -> None:
    assert abs(got - expected) <= by, (got, expected)


def namespaces(pid: int) -> dict[str, str]:
    return {f"{name}_ns": str(Path(f"/proc/{pid}/ns/{name}").stat().st_ino) for name in ("pid", "net")}


def child(pid: int) -> int:
    """Return the only child of a process."""
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text())


def test_the_facts_of_a_process_are_those_in_proc_before_the_kill(tracer, cgroup, victim):
    """With several threads, two user ids, and more memory at first than at the kill."""
    limited = cgroup(64)
    wrapper = ("setpriv", f"--ruid={REAL}", f"--euid={EFFECTIVE}", "--clear-groups")
    process = victim("threads", limited, 32, adj=250, wrapper=wrapper).go()
    assert process.said() == "holding"
    pid = process.pid
    seen, size, started, spaces = status(pid), sizes(pid), started_at(pid), namespaces(pid)
    assert seen["Uid"].split()[:2] == [str(REAL), str(EFFECTIVE)]
    assert size["VmHWM"] > size["VmRSS"] + 4 * MIB
    victim("hog", limited, 48).go()
    assert process.end() == -signal.SIGKILL

    (line,) = tracer.lines_of([pid])

    facts, memory = line["process"], line["process"]["memory"]
    assert facts["threads"] == int(seen["Threads"]) == 5
    assert facts["tid"] == facts["pid"] == facts["vpid"] == int(seen["NSpid"])
    assert facts["oom_score_adj"] == 250
    assert facts["user"]["id"] == REAL
    assert facts["user"].get("name") == user_name(REAL)
    parent = {"pid": os.getpid(), "vpid": int(status(os.getpid())["NSpid"].split()[-1])}
    assert facts["parent"] == {**parent, "comm": Path("/proc/self/comm").read_text()[:-1]}
    assert -CLOCK_ERROR_S < seconds(facts["creation"]["time"]) - started < TICK_S + CLOCK_ERROR_S
    names = (("anon", "RssAnon"), ("file", "RssFile"), ("shmem", "RssShmem"), ("peak_rss", "VmHWM"))
    for name, in_status in names:
        assert memory[name] > MIB // 4
        assert_near(memory[name], size[in_status], COUNTERS)
    for name, in_status in (("page_tables", "VmPTE"), ("total_vm", "VmSize"), ("swap", "VmSwap")):
        assert memory[name] == size[in_status], name
    assert line["namespace"] == {"hostname": os.uname().nodename, **spaces}


def test_a_process_has_started_when_its_first_thread_did(tracer, cgroup, victim):
    process = victim("leaderless", cgroup(24))
    started = started_at(process.pid)
    time.sleep(0.5)  # the thread that is killed starts as much later
    process.go().end()

    (line,) = tracer.lines_of([process.pid])

    assert line["process"]["tid"] != process.pid
    assert -CLOCK_ERROR_S < seconds(line["process"]["creation"]["time"]) - started < TICK_S + CLOCK_ERROR_S


def user_name(uid: int) -> str | None:
    return next((entry.pw_name for entry in pwd.getpwall() if entry.pw_uid == uid), None)


def test_pids_and_names_in_other_namespaces_are_those_that_the_victim_saw(tracer, cgroup, victim):
    limited = cgroup(24)
    shell = ("sh", "-c", 'hostname web-7 && exec "$@"', "sh")
    outer = victim("parent", limited, wrapper=("unshare", "--pid", "--fork", "--uts", *shell))
    children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
    wait_until(lambda: children.read_text() != "")
    first = child(outer.pid)
    wait_until(lambda: Path(f"/proc/{first}/comm").read_text() == "victim\n")
    limited.join(first)
    vpid = int(outer.go().said())
    pid = child(first)
    assert [status(pid)["NSpid"].split()[-1], status(first)["NSpid"].split()[-1]] == [str(vpid), "1"]
    spaces = namespaces(pid)
    outer.go()

    (line,) = tracer.lines_of([pid])

    assert vpid > 1
    assert (line["process"]["pid"], line["process"]["vpid"]) == (pid, vpid)
    assert line["process"]["parent"] == {"pid": first, "vpid": 1, "comm": "victim"}
    assert line["namespace"] == {"hostname": "web-7", **spaces}
    assert spaces["pid_ns"] != namespaces(os.getpid())["pid_ns"]


def test_the_facts_of_a_cgroup_are_those_in_its_files(tracer, cgroup, victim, reported_kill):
    made: list[ScratchCgroup] = []
    unified: list[str] = []

    def kill() -> Victim:
        made.append(cgroup(24))
        process = victim("hog", made[-1])
        rows = re.findall(r"^0::(.*)$", Path(f"/proc/{process.pid}/cgroup").read_text(), re.MULTILINE)
        unified[:] = rows
        return process.go()

    reported = reported_kill(kill)
    (line,) = tracer.lines_of([reported.victim.pid])
    limited, memcg = made[-1], line["oom"]["memcg"]

    v1 = limited.version == 1
    assert memcg["version"] == line["cgroup"]["version"] == limited.version
    assert memcg["path"] == line["cgroup"]["path"] == limited.path
    assert memcg["id"] == line["cgroup"]["id"] == str(limited.folder.stat().st_ino)
    limit = int((limited.folder / ("memory.limit_in_bytes" if v1 else "memory.max")).read_text())
    assert memcg["limit"] == line["oom"]["limit_bytes"] == limit == 24 * MIB
    assert memcg["events"]["oom_kill"] == limited.oom_kills() == 1
    peak = limited.folder / ("memory.max_usage_in_bytes" if v1 else "memory.peak")
    if peak.exists():
        assert memcg["peak"] == int(peak.read_text())
    if reported.complete:
        usage, limit = reported.log.memory(reported.victim.pid)
        assert limit == memcg["limit"]
        assert_near(memcg["usage"], usage, COUNTERS)
    if v1 and (mount := unified_mount()):
        folder = mount / unified[0].lstrip("/")
        assert line["cgroup"]["v2"] == {"path": unified[0], "id": str(folder.stat().st_ino)}


def unified_mount() -> Path | None:
    """Return where the version 2 hierarchy is mounted."""
    found = re.findall(r"^\S+ \S+ \S+ / (\S+) .* - cgroup2 ", Path("/proc/self/mountinfo").read_text(), re.MULTILINE)
    return Path(found[0]) if found else None


def test_the_facts_of_an_exit_are_those_that_its_parent_gets(tmp_path, cgroup, victim):
    with RunningTracer(tmp_path, "--lifecycle") as tracer:
        process = victim("mixed", cgroup(24))
        began, now = time.monotonic(), time.time()
        process.go()
        _, code, usage = os.wait4(process.pid, 0)
        took = time.monotonic() - began
        process.process.returncode = -os.WTERMSIG(code)
        line, gone = wait_for_lines(tracer, process.pid)

    assert (line["event"], gone["event"]) == ("oom_kill", "oom_exit")
    assert gone["exit"]["kill"] == line["id"]
    assert_near(gone["exit"]["peak_rss"], usage.ru_maxrss * 1024, 0)
    assert gone["exit"]["peak_rss"] > 20 * MIB
    assert 0 < gone["exit"]["after_us"] < took * 1e6
    assert now - CLOCK_ERROR_S < seconds(line["time"]) <= seconds(gone["time"]) < now + took + CLOCK_ERROR_S
    # the signal is sent a moment before the mark
    after = seconds(gone["time"]) - seconds(line["time"])
    assert -1e-5 < gone["exit"]["after_us"] / 1e6 - after < CLOCK_ERROR_S
    unchanged = line.keys() - {"event", "id", "seq", "time", "observed", "severity", "message"}
    assert {name: gone[name] for name in unchanged} == {name: line[name] for name in unchanged}


def wait_for_lines(tracer: RunningTracer, pid: int) -> list[Line]:
    """Wait for the two lines of a process."""
    found: list[Line] = []

    def there() -> bool:
        found[:] = [line for line in tracer.lines() if line["process"].get("pid") == pid]
        return len(found) > 1

    wait_until(there)
    return found


def test_an_incident_is_dated_and_numbered_as_the_kernel_counts(tracer, cgroup, victim, count_alone):
    def kill() -> tuple[int, float, float]:
        process, began = victim("hog", cgroup(24)), time.time()
        process.go().end()
        return process.pid, began, time.time()

    (pid, began, ended), number = count_alone(kill)
    (line,) = tracer.lines_of([pid])

    assert line["oom"]["number"] == number
    assert began - CLOCK_ERROR_S < seconds(line["time"]) < ended + CLOCK_ERROR_S
    assert seconds(line["time"]) <= seconds(line["observed"]) < time.time() + CLOCK_ERROR_S
    boot = Path("/proc/sys/kernel/random/boot_id").read_text()[:-1]
    assert line["host"] == {"name": os.uname().nodename, "boot_id": boot, "kernel": os.uname().release}
    assert line["id"].startswith(boot[:8])
    assert line["oom"]["incident"].startswith(boot[:8])


@pytest.fixture
def count_alone() -> Callable[[Callable[[], tuple[int, float, float]]], tuple[tuple[int, float, float], int]]:
    """Make a kill with no other at the same time; return what the function returned, and the kernel's count then."""

    def attempt(kill: Callable[[], tuple[int, float, float]]) -> tuple[tuple[int, float, float], int]:
        for _ in range(50):
            before = oom_kill_count()
            made = kill()
            if oom_kill_count() == before + 1:
                return made, before + 1
        pytest.fail("other processes are killed all the time")

    return attempt
