# SPDX-License-Identifier: Apache-2.0
"""From one line to the job that vanished and to the lock that it left behind: with a real Sidekiq and a real Redis."""

from __future__ import annotations

import re
import subprocess
import time
from datetime import datetime

import pytest
from support.story import HOSTNAME, LIMIT, Left, story
from support.tracer import RunningTracer

# between two clocks, and from a kill to its line: milliseconds, unless the machine is busy
SOON_S = 10


@pytest.fixture(scope="module")
def happening(tmp_path_factory):
    """Run the story once; return it, the victim's pid and all lines about it."""
    with (
        story(tmp_path_factory.mktemp("story")) as happened,
        RunningTracer(tmp_path_factory.mktemp("tracer"), "--service", f"{happened.port}=redis") as tracer,
    ):
        pid = happened.run()
        yield happened, pid, tracer.lines_of([pid])


def seconds(timestamp: str) -> float:
    return datetime.strptime(timestamp, "%Y-%m-%dT%H:%M:%S.%f%z").timestamp()


def logged_at(pid: int) -> float:
    """Return when the kernel log dates the kill: its clock counts from the boot on."""
    log = subprocess.run(["dmesg", "--raw"], capture_output=True, text=True, check=True).stdout
    logged = re.findall(rf"^<\d+>\[ *([\d.]+)\].* Killed process {pid} \(", log, re.MULTILINE)
    return float(logged[-1]) + time.time() - time.monotonic()


def test_sidekiq_and_its_queue_do_not_show_the_kill(happening):
    happened, _, _ = happening

    assert re.search(r"class=NotifyJob jid=[0-9a-f]{24} INFO: start$", happened.log()[-1])
    assert happened.left() == Left(queued=0, retry=0, dead=0)


def test_the_line_has_the_victim_and_the_limit(happening, validate):
    happened, pid, (line,) = happening

    validate(line)
    assert line["process"]["pid"] == pid
    assert line["process"]["vpid"] == 1
    assert line["process"]["comm"] == "ruby"
    assert line["namespace"]["hostname"] == HOSTNAME
    assert line["cgroup"]["path"] == line["oom"]["memcg"]["path"] == happened.cgroup.path
    assert line["oom"]["limit_bytes"] == LIMIT == 209715200
    assert abs(seconds(line["time"]) - logged_at(pid)) < SOON_S
    assert seconds(line["observed"]) - seconds(line["time"]) < SOON_S


def test_the_line_has_the_workers_title_and_its_connections(happening):
    happened, _, (line,) = happening

    assert line["process"]["title"].startswith("sidekiq ")
    assert "myapp" in line["process"]["title"]
    to_redis = [one for one in line["process"]["connections"] if one.get("service") == "redis"]
    assert to_redis
    for connection in to_redis:
        assert connection["transport"] == "tcp"
        assert connection["remote"] == {"address": "127.0.0.1", "port": happened.port}


def test_the_line_leads_to_the_job_and_to_its_lock(happening):
    happened, _, (line,) = happening
    assert line["job"]["system"] == "sidekiq"
    assert line["job"]["join"] == f"{HOSTNAME}:1:"

    job = happened.job(line["job"]["join"])

    assert (job.name, job.args) == ("NotifyJob", [42])
    assert happened.log()[-1].endswith(f"jid={job.jid} INFO: start")
    assert happened.lock() == (job.jid, -1)


def test_what_the_line_calls_the_registry_is_where_sidekiq_lists_the_worker(happening):
    """The names of the set and of the hash in Redis are Sidekiq's own."""
    happened, _, (line,) = happening
    job = happened.job(line["job"]["join"])
    registry = line["job"]["registry"]

    assert line["job"]["role"] == "worker"
    assert "member of `processes` that begins with it" in registry
    assert job.member in happened.redis("smembers", "processes")
    assert job.key.removeprefix(job.member) in (":work", ":workers")
    assert (
        f"`<member>{job.key.removeprefix(job.member)}`" in registry
        or f"`{job.key.removeprefix(job.member)}`" in registry
    )
