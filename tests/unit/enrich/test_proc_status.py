# SPDX-License-Identifier: Apache-2.0
"""Process and cgroup of a victim, from trees that stand in for /proc, with and without gaps."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from support.probe_events import kill

from ooMtrace import record
from ooMtrace.enrich.proc_status import add_proc_status

STATUS = """\
Name:	{name}
Umask:	0022
State:	Z (zombie)
Tgid:	{pid}
Ngid:	0
Pid:	{tid}
PPid:	{parent}
Uid:	1000	1000	1000	1000
NStgid:	{pid}	{leader}
NSpid:	{tid}	{inner}
Threads:	3
"""


class Proc:
    """A tree that stands in for /proc."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def task(self, tid: int, pid: int, parent: int, name: str, inner: int = 9, cgroup: str | None = None) -> Proc:
        (self.folder / str(tid)).mkdir()
        leader = inner if tid == pid else 9
        status = STATUS.format(name=name, tid=tid, pid=pid, parent=parent, inner=inner, leader=leader)
        (self.folder / str(tid) / "status").write_bytes(os.fsencode(status))
        if cgroup is not None:
            (self.folder / str(tid) / "cgroup").write_bytes(os.fsencode(cgroup))
        return self


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    return Proc(tmp_path)


VICTIM = kill(fidelity="minimal", process=record.Process(tid=100, comm="worker"))


def test_a_victim_that_still_exists_is_completed(proc):
    proc.task(100, 100, 90, "worker", cgroup="0::/job/worker\n").task(90, 90, 1, "boss", inner=4)

    found = add_proc_status(proc.folder)(VICTIM)

    assert found == replace(
        VICTIM,
        process=record.Process(
            pid=100,
            tid=100,
            vpid=9,
            comm="worker",
            parent=record.Parent(pid=90, vpid=4, comm="boss"),
        ),
        cgroup=record.Cgroup(path="/job/worker", version=2),
    )


def test_the_process_is_found_through_a_thread(proc):
    proc.task(105, 100, 90, "worker", cgroup="0::/job\n")

    found = add_proc_status(proc.folder)(kill(process=record.Process(tid=105, comm="worker")))

    assert (found.process.pid, found.process.tid) == (100, 105)


def test_vpid_is_that_of_the_process_and_not_of_the_thread(proc):
    proc.task(105, 100, 90, "worker", inner=14)

    assert add_proc_status(proc.folder)(kill(process=record.Process(tid=105, comm="worker"))).process.vpid == 9


def test_a_victim_that_has_exited_is_unchanged(proc):
    assert add_proc_status(proc.folder)(VICTIM) is VICTIM


def test_a_victim_that_is_being_reaped_has_no_pids_any_more_and_is_unchanged(proc):
    proc.task(100, 0, 0, "worker", inner=0, cgroup="0::/\n")

    assert add_proc_status(proc.folder)(VICTIM) == VICTIM


def test_another_process_with_a_reused_pid_is_ignored(proc):
    proc.task(100, 100, 90, "other", cgroup="0::/other\n")

    assert add_proc_status(proc.folder)(VICTIM) is VICTIM


def test_a_victim_without_a_name_gets_the_name_in_proc(proc):
    proc.task(100, 100, 90, "a\\\\b")

    found = add_proc_status(proc.folder)(kill(process=record.Process(tid=100)))

    assert (found.process.pid, found.process.comm) == (100, "a\\b")


def test_a_victim_without_a_name_that_has_exited_is_unchanged(proc):
    nameless = kill(process=record.Process(tid=100))

    assert add_proc_status(proc.folder)(nameless) is nameless


def test_a_victim_that_the_probe_described_is_not_looked_up(proc):
    proc.task(100, 999, 90, "worker", cgroup="0::/other\n")
    known = kill(process=record.Process(pid=100, tid=100, comm="worker"))

    assert add_proc_status(proc.folder)(known) is known


def test_a_victim_without_a_tid_is_unchanged(proc):
    without_tid = kill(process=record.Process())

    assert add_proc_status(proc.folder)(without_tid) is without_tid


def test_of_a_parent_that_has_exited_only_the_pid_is_known(proc):
    proc.task(100, 100, 90, "worker")

    found = add_proc_status(proc.folder)(VICTIM)

    assert found.process.parent == record.Parent(pid=90, vpid=None, comm=None)
    assert found.cgroup is None


def test_an_incomplete_status_gives_the_fields_it_has(proc):
    (proc.folder / "100").mkdir()
    (proc.folder / "100/status").write_text(f"Name:\tworker\nTgid:\t\nThreads\nPPid:\tnobody\nNStgid:\t{'1' * 5000}\n")

    found = add_proc_status(proc.folder)(VICTIM)

    assert found.process == record.Process(tid=100, comm="worker", parent=record.Parent())


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("0::/job/worker\n", record.Cgroup(path="/job/worker", version=2)),
        ("0::/job (deleted)\n", record.Cgroup(path="/job", version=2)),
        ("0::/\n", record.Cgroup(path="/", version=2)),
        ("0::/a:b::c\n", record.Cgroup(path="/a:b::c", version=2)),
        ("9:memory:/job\n2:cpu,cpuacct:/\n0::/\n", record.Cgroup(path="/job", version=1)),
        ("2:cpu:/x\n9:hugetlb,memory:/job\n", record.Cgroup(path="/job", version=1)),
        ("9:memory:/\n0::/job\n", None),
        ("9:name=memory:/job\n0::/\n", None),
        ("2:cpu:/job\n0::/job\n", None),
        ("", None),
        ("nonsense\n", None),
    ],
)
def test_the_cgroup_is_that_of_the_memory_controller(proc, content, expected):
    proc.task(100, 100, 90, "worker", cgroup=content)

    assert add_proc_status(proc.folder)(VICTIM).cgroup == expected


@pytest.mark.parametrize(
    ("comm", "in_status"),
    [
        ("naïve-名", "naïve-名"),
        ('"{}:\x1b', '"{}:\x1b'),
        ("a\\b", "a\\\\b"),
        ("a\nb", "a\\nb"),
        ("a\\nb", "a\\\\nb"),
        ("a\\xff", "a\udcff"),
        ("a\rTgid:\t1", "a\rTgid:\t1"),
        ("a\x0bTgid:\t1", "a\x0bTgid:\t1"),
        (" spaces ", " spaces "),
        ("\ttab", "\ttab"),
    ],
)
def test_a_hostile_name_is_compared_correctly(proc, comm, in_status):
    proc.task(100, 100, 90, in_status)

    found = add_proc_status(proc.folder)(kill(process=record.Process(tid=100, comm=comm)))

    assert found.process.pid == 100


def test_a_hostile_cgroup_path_is_read_whole(proc):
    proc.task(100, 100, 90, "worker", cgroup="9:memory:/a\x0bb\rc\u2028d\n0::/\n")

    assert add_proc_status(proc.folder)(VICTIM).cgroup == record.Cgroup(path="/a\x0bb\rc\u2028d", version=1)
