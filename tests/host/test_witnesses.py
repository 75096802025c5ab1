# SPDX-License-Identifier: Apache-2.0
"""A second witness for facts that otherwise have one: the thread that allocates, the peak, and the job."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.debian import Tree, tree
from support.dialogue import dialogue, said, send_line, wait_until
from support.postgresql import GREEDY, postgresql
from support.probe_events import kill as killed
from support.tracer import RunningTracer
from support.witness import KernelLog

from ooMtrace import record
from ooMtrace.enrich.jobs.match import add_job

PAGE = os.sysconf("SC_PAGE_SIZE")
COUNTERS = 64 * PAGE * (os.cpu_count() or 1)
"""By how much two readings may differ: they add up no counters of single CPUs."""

RUNNING = re.compile(r"\bCPU: \d+ .*\bPID: (?P<tid>\d+) Comm: (?P<comm>\S+) ")
THREADED = """
import threading

def allocate():
    with open(f"/proc/self/task/{threading.get_native_id()}/comm", "w") as comm:
        comm.write("allocates")
    print(threading.get_native_id(), flush=True)
    input()
    hoard = bytearray(256 << 20)

thread = threading.Thread(target=allocate)
thread.start()
thread.join()
"""


class Threaded:
    """A process whose second thread allocates."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-I", "-S", "-c", THREADED]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder)
        self.pid = self.process.pid
        Path(f"/proc/{self.pid}/oom_score_adj").write_text("0")
        assert self.process.stdout
        self.tid = int(self.process.stdout.readline())

    def go(self) -> Threaded:
        assert self.process.stdin
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self

    def end(self) -> int:
        return self.process.wait(60)


def test_the_trigger_is_the_thread_that_allocates_and_its_process(tmp_path, tracer, cgroup, reported_kill):
    """Witnesses: gettid(2) of the thread itself, and the kernel log's line about the task that runs."""

    def kill() -> Threaded:
        process = Threaded(tmp_path)
        cgroup(24).join(process.pid)
        return process.go()

    reported = reported_kill(kill)
    victim = reported.victim
    (line,) = tracer.lines_of([victim.pid])

    trigger = line["oom"]["trigger"]
    assert victim.tid != victim.pid
    assert (trigger["pid"], trigger["tid"], trigger["comm"]) == (victim.pid, victim.tid, "allocates")
    assert line["process"]["tid"] == line["process"]["pid"] == victim.pid
    if reported.complete:
        logged = [found for found in map(RUNNING.search, reported.log.lines()) if found]
        assert (str(trigger["tid"]), trigger["comm"]) in [(found["tid"], found["comm"]) for found in logged]


def test_the_peak_of_a_process_that_only_grows_is_what_the_kernel_logs_at_its_kill(tracer, cgroup, victim):
    log = KernelLog()
    process = victim("hog", cgroup(24)).go()
    process.end()

    (line,) = tracer.lines_of([process.pid])

    logged = log.kills()[process.pid]
    assert abs(line["process"]["memory"]["peak_rss"] - (logged.anon + logged.file + logged.shmem) * 1024) <= COUNTERS


def variables(pid: int) -> dict[str, str]:
    entries = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return dict(entry.split("=", 1) for entry in entries if entry)


RQ = "rq:worker:mailer-1: Processing app.jobs.send from high since 1700000000"


def test_worker_queue_and_name_are_those_in_the_title_that_proc_shows(tracer, cgroup, victim):
    """rq/worker.py: `rq:worker:NAME: Processing FUNCTION from QUEUE since TIME`."""
    process = victim("hog", cgroup(24), env={b"VICTIM_TITLE": RQ.encode(), b"ROOM": b"x" * len(RQ)})
    title = Path(f"/proc/{process.pid}/cmdline")
    wait_until(lambda: title.read_bytes().startswith(b"rq:"))
    words = title.read_bytes().rstrip(b"\0").decode().split(" ")
    process.go().end()

    (line,) = tracer.lines_of([process.pid])

    job = line["job"]
    assert [job["system"], job["worker"]] == words[0].rstrip(":").split(":")[::2]
    assert [job["name"], job["queue"]] == [words[words.index("Processing") + 1], words[words.index("from") + 1]]
    assert job["join"] == words[0].rstrip(":")


def test_id_name_and_worker_are_the_variables_of_the_victims_own_environment(tmp_path, cgroup, victim):
    spark = {b"SPARK_APPLICATION_ID": b"app-2026-0001", b"SPARK_EXECUTOR_ID": b"4"}
    slurm = {b"SLURM_JOB_ID": b"123", b"SLURM_JOB_NAME": b"nightly import"}
    with RunningTracer(tmp_path, "--env", "SPARK_*", "--env", "SLURM_JOB_*") as tracer:
        processes = [victim("hog", cgroup(24), env=env) for env in (spark, slurm)]
        for process in processes:
            wait_until(lambda: Path(f"/proc/{process.pid}/comm").read_text() == "victim\n")  # noqa: B023
        seen = [variables(process.pid) for process in processes]
        for process in processes:
            process.go().end()
        lines = tracer.lines_of([process.pid for process in processes])

    jobs = {line["process"]["pid"]: line["job"] for line in lines}
    first, second = (jobs[process.pid] for process in processes)
    assert (first["system"], second["system"]) == ("spark", "slurm")
    assert (first["id"], first["worker"]) == (seen[0]["SPARK_APPLICATION_ID"], seen[0]["SPARK_EXECUTOR_ID"])
    assert (second["id"], second["name"]) == (seen[1]["SLURM_JOB_ID"], seen[1]["SLURM_JOB_NAME"])


@pytest.fixture
def place(tmp_path: Path) -> Tree:
    share = tmp_path / "share"
    share.mkdir()
    return tree(share)


def test_a_postgresql_backend_is_what_the_server_itself_calls_it(tracer, cgroup, place):
    """Witnesses: pg_stat_activity before the kill, and the server's own log after it."""
    with (
        postgresql(place) as psql,
        dialogue(place, *psql, "--username=app", "--dbname=appdb") as client,
    ):
        send_line(client, "SELECT pg_backend_pid();")
        backend = int(said(client))
        activity = place.run(*psql, "--username=postgres", "--command=SELECT pid, backend_type FROM pg_stat_activity")
        types = {int(pid): kind for pid, _, kind in (row.partition("|") for row in activity.split("\n") if row)}
        roles = {pid: role_of(pid) for pid in types if Path(f"/proc/{pid}").exists()}
        cgroup(64).join(backend)
        send_line(client, GREEDY)
        (line,) = tracer.lines_of([backend])
        wait_until(lambda: f"server process (PID {backend}) was terminated" in log(place))
        failed = re.search(r"Failed process was running: (\w+)", log(place))

    assert types[backend] == "client backend"
    assert roles[backend] == line["job"]["role"] == "backend"
    others = {pid: kind for pid, kind in types.items() if kind != "client backend" and pid in roles}
    assert {"checkpointer", "walwriter"} <= set(others.values())
    assert {pid: roles[pid] for pid in others} == others
    assert failed is not None
    assert line["job"]["name"] == failed[1]
    assert line["job"]["join"] == str(backend)
    assert line["job"]["registry"].startswith("pg_stat_activity: pid;"), "the table and the column that were read above"


def log(place: Tree) -> str:
    return (place.share / "log").read_text()


def role_of(pid: int) -> str | None:
    """Return the role that the title of a process shows."""
    title = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").decode()
    job = add_job()(killed(process=record.Process(pid=pid, title=title))).job
    return None if job is None else job.role
