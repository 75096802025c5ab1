# SPDX-License-Identifier: Apache-2.0
"""What a victim left behind, and commands that find its job; none is shown that could not be pasted."""

from __future__ import annotations

from typing import Any

import pytest
from support.explained_text import MEMCG, case, joined

from ooMtrace.explain.aftermath import JOBS, find_job, left_behind


def left(**facts):
    return joined(left_behind(case(MEMCG, **facts)))


def connection(address: str, port: int | None, **facts: Any) -> dict[str, Any]:
    return {"state": "established", "transport": "tcp", "remote": {"address": address, "port": port}, **facts}


@pytest.mark.parametrize(
    ("connections", "expected"),
    [
        ([connection("10.0.0.1", 5432)], "1 connection to tcp 10.0.0.1:5432"),
        ([connection("::1", 6379, service="redis")] * 2, "2 connections to redis [::1]:6379"),
        ([connection("/run/x", None, transport="unix")], "1 connection to unix /run/x"),
        ([connection("::1", None)], "1 connection to tcp ::1"),
        ([{"state": "listen", "local": {"address": "0.0.0.0", "port": 80}}], "listening on 0.0.0.0:80"),
        ([{"state": "established"}], ""),
        (
            [connection(str(at), 1) for at in (1, 2, 2, 3, 3, 3, 4, 4)],
            "3 connections to tcp 3:1, 2 connections to tcp 2:1, 2 connections to tcp 4:1",
        ),
    ],
)
def test_the_services_with_the_most_connections_are_named(connections, expected):
    shown = left(process__connections=connections)

    assert shown == (f"open {expected}" if expected else "")


def test_open_files_and_pipes_are_counted():
    assert left(process__open_files={"regular": 1, "pipe": 2, "socket": 3}) == "open 1 file, 2 pipes"
    assert left(process__open_files={"regular": 0, "pipe": 0}) == ""


def test_a_job_is_stated_with_all_that_identifies_it():
    job = {"system": "sidekiq", "role": "worker", "queue": "q", "name": "N", "id": "1", "worker": "w"}

    assert left(job=job) == "job sidekiq worker, queue q, name N, id 1, worker w"
    assert left(job={"system": "sidekiq"}) == "job sidekiq"
    assert left(job={"name": "N"}) == ""


def found(**job):
    return "\n".join(line for block in find_job(case(MEMCG, job=job)) for line in block.lines)


@pytest.mark.parametrize("system", JOBS)
def test_each_system_has_its_commands_with_the_keys_filled_in(system):
    shown = found(system=system, join="h:1:", worker="w@h")
    sentence, commands = JOBS[system]

    assert shown.replace("\n", " ").startswith(sentence)
    assert shown.count("\n  ") == len(commands)
    assert "{" not in shown


@pytest.mark.parametrize(
    ("job", "expected"),
    [
        (
            {"system": "sidekiq", "join": "a.b[1]*$^\\:1:"},
            r"  redis-cli SMEMBERS processes | grep '^a\.b\[1\]\*\$\^\\:1:'",
        ),
        ({"system": "rq", "join": "rq:worker:a b"}, "  redis-cli HGET 'rq:worker:a b' current_job"),
        ({"system": "postgresql", "join": "7"}, "  grep -A1 '(PID 7) was terminated' LOG"),
        ({"system": "celery", "worker": "celery@a"}, "  celery -A PROJECT inspect active -d celery@a"),
        ({"system": "slurm", "join": "7"}, "  sacct -j 7 -o JobID,JobName,State,MaxRSS"),
    ],
)
def test_a_command_can_be_pasted(job, expected):
    assert expected in found(**job).splitlines()


@pytest.mark.parametrize(
    "job",
    [
        {"system": "rq"},
        {"system": "rq", "join": ""},
        {"system": "rq", "join": "a\nb"},
        {"system": "rq", "join": "a\u202eb"},
        {"system": "rq", "join": "x" * 100},
        {"system": "celery", "join": "x"},
        {"join": "x"},
        {"system": "other", "join": "x"},
    ],
)
def test_no_command_is_shown_that_lacks_a_key_or_would_not_fit(job):
    assert found(**job) == ""


def test_the_key_is_stated_where_there_is_no_command():
    assert found(system="other", join="k1", registry="redis db 0") == "Its key is k1 (redis db 0)."
    long = found(system="rq", join="x" * 120, registry="redis db 0")
    assert long.replace("\n", "") == f"Its key is{'x' * 120} (redis db 0)."
    assert found(system="other", registry="redis") == ""
