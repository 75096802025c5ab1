# SPDX-License-Identifier: Apache-2.0
"""Each kind of kill that this kernel can make without harm, against independent witnesses."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.tracer import RunningTracer
from support.victims import Victim
from support.witness import KernelLog

from ooMtrace.kernel.scratch_cgroup import ScratchCgroup

KILLS = 23
PAGE = os.sysconf("SC_PAGE_SIZE")


def test_23_kills_give_23_lines_that_agree_with_the_kernel_log(tracer, cgroup, victim, validate):
    log = KernelLog()
    limited = cgroup(24)
    pids = []
    for i in range(KILLS):
        mode = ("hog", "mixed")[i % 2]
        started = victim(mode, limited, uid=1000 * (i % 3), adj=100 * (i % 4)).go()
        assert started.end() == -signal.SIGKILL
        pids.append(started.pid)

    lines = tracer.lines_of(pids)

    assert sorted(line["process"]["pid"] for line in lines) == sorted(pids)
    assert limited.oom_kills() == KILLS
    logged = log.kills()
    for line in lines:
        validate(line)
        kill, process = logged[line["process"]["pid"]], line["process"]
        kilobytes = {name: size // 1024 for name, size in process["memory"].items()}
        assert kill.anon == kilobytes["anon"]
        assert kill.file == kilobytes["file"]
        assert kill.shmem == kilobytes["shmem"]
        assert kill.page_tables == kilobytes["page_tables"]
        assert kill.total_vm == kilobytes["total_vm"]
        assert kill.uid == process["user"]["id"]
        assert kill.adj == process["oom_score_adj"]
        assert kill.comm == process["comm"]
    assert any(line["process"]["memory"]["shmem"] for line in lines)


def test_points_are_those_that_the_kernel_computed(tracer, cgroup, victim, reported_kill):
    reported = reported_kill(lambda: victim("mixed", cgroup(24), adj=300).go())
    pid, log = reported.victim.pid, reported.log

    (line,) = tracer.lines_of([pid])

    points = line["oom"]["points"]
    adj = 300 * ((24 << 20) // PAGE // 1000)
    # `exact` compares with the kernel's own total, which only level full can read
    assert points.get("exact") is (True if line["fidelity"] == "full" else None)
    assert points["adj"] == adj
    assert points["total"] == points["rss"] + points["swap"] + points["page_tables"] + points["adj"]
    kill = log.kills()[pid]
    assert points["rss"] == (kill.anon + kill.file + kill.shmem) * 1024 // PAGE
    assert points["page_tables"] == kill.page_tables * 1024 // PAGE
    if reported.complete:
        task = log.task(pid)
        assert (points["rss"], points["swap"]) == (task.rss, task.swap)
        assert points["total"] == task.points + adj
    assert points["swap"] * PAGE == line["process"]["memory"]["swap"] == 0
    assert line["oom"]["limit_bytes"] == 24 << 20


def test_victim_and_trigger_in_different_cgroups_below_one_limit(tracer, cgroup, victim, reported_kill):
    def kill() -> Victim:
        parent = cgroup(64)
        name = parent.path[1:]
        holder_cgroup, grower_cgroup = cgroup(name=f"{name}/holder"), cgroup(name=f"{name}/grower")
        holder = victim("hold", holder_cgroup, 40).go()
        assert holder.said() == "holding"
        made.append((parent, holder_cgroup, grower_cgroup, victim("hog", grower_cgroup, 40).go()))
        return holder

    made: list[tuple[ScratchCgroup, ScratchCgroup, ScratchCgroup, Victim]] = []
    reported = reported_kill(kill)
    holder, (parent, holder_cgroup, grower_cgroup, grower) = reported.victim, made[-1]
    (line,) = tracer.lines_of([holder.pid])

    assert line["oom"]["verdict"] == "killed"
    assert line["cgroup"]["path"] == holder_cgroup.path
    trigger = {"pid": grower.pid, "tid": grower.pid, "comm": "victim", "cgroup": grower_cgroup.path}
    assert line["oom"]["trigger"] == trigger
    assert line["oom"]["memcg"]["path"] == parent.path
    assert line["oom"]["memcg"]["limit"] == 64 << 20
    if reported.complete:
        assert reported.log.summaries()[holder.pid] == (parent.path, holder_cgroup.path)
    assert line["oom"]["memcg"]["id"] == str(parent.folder.stat().st_ino)
    assert line["cgroup"]["id"] == str(holder_cgroup.folder.stat().st_ino)


def test_a_nearly_full_cgroup_below_is_not_mistaken_for_the_one_out_of_memory(tracer, cgroup, victim, reported_kill):
    """The victim's own cgroup is close to its limit, too, but the trigger is outside it."""

    def kill() -> Victim:
        parent = cgroup(64)
        name = parent.path[1:]
        holder_cgroup, grower_cgroup = cgroup(40, f"{name}/holder"), cgroup(name=f"{name}/grower")
        holder = victim("hold", holder_cgroup, 30).go()
        assert holder.said() == "holding"
        with _shared_memory(holder_cgroup, (40 << 20) - holder_cgroup.usage() - (1 << 20)):
            assert holder_cgroup.usage() > 38 << 20
            made.append((parent, holder_cgroup, victim("hog", grower_cgroup, 60).go()))
            assert holder.end() == -signal.SIGKILL
        return holder

    made: list[tuple[ScratchCgroup, ScratchCgroup, Victim]] = []
    reported = reported_kill(kill)
    holder, (parent, holder_cgroup, grower) = reported.victim, made[-1]
    (line,) = tracer.lines_of([holder.pid])

    assert line["oom"]["memcg"]["path"] == parent.path
    assert line["cgroup"]["path"] == holder_cgroup.path
    assert line["oom"]["trigger"]["pid"] == grower.pid
    assert line["oom"]["trigger"]["cgroup"] == f"{parent.path}/grower"
    if reported.complete:
        assert reported.log.summaries()[holder.pid] == (parent.path, holder_cgroup.path)


@contextmanager
def _shared_memory(cgroup: ScratchCgroup, size: int) -> Iterator[None]:
    """Charge memory to a cgroup that belongs to no process and cannot be reclaimed."""
    path = Path(f"/dev/shm/oomtrace-test-{os.getpid()}")
    script = f"read go && head -c {size} /dev/zero > {path}"
    with subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE) as writer:
        cgroup.join(writer.pid)
        writer.communicate(b"go\n")
    try:
        yield
    finally:
        path.unlink()


def test_a_victim_whose_first_thread_has_exited_is_named_by_its_process(tracer, cgroup, victim):
    log = KernelLog()
    process = victim("leaderless", cgroup(24)).go()
    assert process.end() == -signal.SIGKILL

    (line,) = tracer.lines_of([process.pid])

    assert line["process"]["pid"] == process.pid
    assert line["process"]["tid"] != process.pid
    assert line["process"]["tid"] in log.kills()
    assert line["process"]["memory"]["anon"] > 16 << 20


def test_a_process_that_was_already_dying_has_no_kill_line(tmp_path, cgroup, victim):
    limited = cgroup(24)
    log = KernelLog()
    with RunningTracer(tmp_path, "--all") as tracer:
        process = victim("dying", limited, 20).go()
        assert process.end() == -signal.SIGKILL
        (line,) = tracer.lines_of([process.pid])

    assert line["event"] == "oom_dying"
    assert "verdict" not in line["oom"]
    assert limited.oom_kills() == 0
    assert process.pid not in log.kills()


def test_without_all_a_dying_process_is_not_reported(tmp_path, cgroup, victim):
    limited = cgroup(24)
    with RunningTracer(tmp_path) as tracer:  # ends before its lines are read: none is to come
        dying = victim("dying", limited, 20).go()
        dying.end()
        killed = victim("hog", limited).go()
        killed.end()

    assert killed.pid in {line["process"].get("pid") for line in tracer.lines()}
    assert dying.pid not in {line["process"].get("pid") for line in tracer.lines()}


def test_processes_that_share_memory_have_two_lines_of_one_incident(tracer, cgroup, victim, validate):
    log = KernelLog()
    process = victim("sharer", cgroup(24)).go()
    other = int(process.said())
    assert process.end() == -signal.SIGKILL

    lines = tracer.lines_of([process.pid, other])

    assert len(lines) == 2
    for line in lines:
        validate(line)
    assert len({line["oom"]["incident"] for line in lines}) == 1
    assert len({line["id"] for line in lines}) == 2
    verdicts = {line["process"]["pid"]: line["oom"]["verdict"] for line in lines}
    (logged,) = log.kills().keys() & {process.pid, other}
    (unlogged,) = {process.pid, other} - {logged}
    assert verdicts == {logged: "killed", unlogged: "shared_mm"}


def test_a_process_that_dies_with_its_pid_namespace_is_not_mistaken_for_a_sharer(tmp_path, cgroup, program):
    """When the first process of a pid namespace dies, its thread sends the others the same kind of signal.

    A false line would be held for its context: the lines are read when the tracer has ended, and written all.
    """
    limited = cgroup(24)
    enter = f"echo $$ > {limited.folder}/cgroup.procs && exec unshare --pid --fork {program} first"
    with RunningTracer(tmp_path) as tracer:
        subprocess.run(["sh", "-c", enter], input=b"!", check=False, timeout=60)
        after = Victim(program, "hog", limited).go()
        after.end()

    lines = [line for line in tracer.lines() if line.get("cgroup", {}).get("path") == limited.path]

    assert [line["oom"]["verdict"] for line in lines] == ["killed", "killed"]
    assert [line["process"]["vpid"] for line in lines] == [1, after.pid]
    assert lines[0]["namespace"]["pid_ns"] != lines[1]["namespace"]["pid_ns"]
    assert limited.oom_kills() == 2


def test_two_separate_kills_are_two_incidents(tracer, cgroup, victim):
    limited = cgroup(24)
    pids = []
    for _ in range(2):
        process = victim("hog", limited).go()
        process.end()
        pids.append(process.pid)

    lines = tracer.lines_of(pids)

    assert len({line["oom"]["incident"] for line in lines}) == 2


HOSTILE = (
    b'a"b\\c',
    b"a\nb\tc",
    b"\x1b[31mred\x1b[m",
    b"\xff\xfe\x80bad",
    b"{}[],:'",
    b"\xc2\x9b31m",
    "naïve-名".encode(),
)


def test_hostile_names_give_one_valid_line_each(tracer, cgroup, victim, validate):
    expected = {}
    for i, name in enumerate(HOSTILE):
        # the kernel lets no newline into a cgroup's name
        folder = os.fsdecode(f"oomtrace-test-{os.getpid()}-{i}-".encode() + name.replace(b"\n", b" "))
        process = victim("hog", cgroup(24, folder), comm=name).go()
        process.end()
        expected[process.pid] = name

    lines = tracer.lines_of(list(expected))

    assert len(tracer.output.read_bytes().splitlines()) == len(tracer.lines())
    assert not set(tracer.output.read_bytes()) & (set(range(32)) - {10})
    for line in lines:
        validate(line)
        name = expected[line["process"]["pid"]][:15]
        assert line["process"]["comm"] == name.decode("utf-8", "backslashreplace")
        assert line["cgroup"]["path"].endswith(name.replace(b"\n", b" ").decode("utf-8", "backslashreplace"))


def test_level_minimal_distinguishes_kills_from_dying_processes(tmp_path, cgroup, victim, validate):
    limited = cgroup(24)
    with RunningTracer(tmp_path, "--level", "minimal") as tracer:
        dying = victim("dying", limited, 20).go()
        dying.end()
        killed = victim("hog", limited, uid=1000, adj=100).go()
        (line,) = tracer.lines_of([killed.pid])  # the zombie's entry in /proc is there until `end`

    assert dying.pid not in {other["process"].get("tid") for other in tracer.lines()}
    validate(line)
    assert line["fidelity"] == "minimal"
    assert line["oom"]["verdict"] == "killed"
    assert line["oom"]["scope"] == "memcg"
    assert line["process"]["oom_score_adj"] == 100
    assert line["process"]["user"]["id"] == 1000
    assert line.get("cgroup", {"path": limited.path})["path"] == limited.path  # /proc may be gone before it is read
    assert "oom.order" in line["missing"]
