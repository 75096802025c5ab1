# SPDX-License-Identifier: Apache-2.0
"""Advice for runtimes and job systems: by their options, in the units that they take, and only where it fits."""

from __future__ import annotations

from typing import Any

import pytest
from support.explained import MIB
from support.explained_text import GLOBAL, MEMCG, case

from ooMtrace.explain import advice_runtime as advice


def of(*arguments: str, anon: int = 80, base: dict[str, Any] = MEMCG, **facts: Any):
    memory = {"anon": anon * MIB, "file": 0, "shmem": 0}
    return case(base, **{"process__command_args": list(arguments), "process__memory": memory, **facts})


@pytest.mark.parametrize(
    ("arguments", "heap", "limit"),
    [
        (["java", "-Xmx100m"], "100.0 MiB", "100.0 MiB"),
        (["/usr/bin/java", "-Xmx1G", "-jar", "a"], "1,024.0 MiB", "100.0 MiB"),
        (["java", "-Xmx1m", "-Xmx200M"], "200.0 MiB", "100.0 MiB"),
        (["java", "-Xmx204800k"], "200.0 MiB", "100.0 MiB"),
        (["java", "-Xmx104857600"], "100.0 MiB", "100.0 MiB"),
        (["java", "-XX:MaxRAMPercentage=100"], "100.0 MiB", "100.0 MiB"),
        (["java", "-XX:MaxRAMPercentage=120.5"], "120.0 MiB", "100.0 MiB"),
    ],
)
def test_a_heap_that_may_grow_to_the_limit_is_named(arguments, heap, limit):
    text = advice.jvm_heap(of(*arguments))

    assert (text or "").startswith(f"Its options let the heap grow to {heap}, and the limit is {limit}: ")
    assert advice.jvm_outside(of(*arguments)) is None


@pytest.mark.parametrize(
    ("arguments", "facts", "expected"),
    [
        (
            ["java", "-Xmx60m"],
            {},
            "It held 20.0 MiB more than its largest heap, 60.0 MiB: metaspace, buffers. The limit",
        ),
        (["java", "-Xmx60m"], {"process__threads": 1}, "buffers, 1 thread. The limit leaves 40.0 MiB for that: "),
        (["java", "-Xmx200m", "-Xmx60m"], {}, "its largest heap, 60.0 MiB"),
        (["java", "-Xmx60m", "-XX:MaxRAMPercentage=90"], {}, "its largest heap, 60.0 MiB"),
        (["java", "-XX:MaxRAMPercentage=10", "-XX:MaxRAMPercentage=75.0"], {}, "its largest heap, 75.0 MiB"),
        (["java", "-Xmx80m"], {}, None),
        (["java", "-Xmx60m"], {"anon": 60}, None),
        (["java"], {}, None),
        (["java", "-Xmx60t"], {}, None),
        (["java", "a -Xmx60m"], {}, None),
        (["ruby", "-Xmx60m"], {}, None),
        (["java", "-Xmx60m"], {"base": GLOBAL}, None),
    ],
)
def test_memory_beside_the_heap_is_stated(arguments, facts, expected):
    text = advice.jvm_outside(of(*arguments, **facts))

    assert expected in (text or "") if expected else text is None


@pytest.mark.parametrize("facts", [{"process__comm": "java"}, {"process__executable__path": "/opt/jdk/bin/java"}])
def test_a_program_is_known_by_its_name_or_path_as_well(facts):
    assert advice.jvm_heap(of("./start", "-Xmx1g", **facts))


@pytest.mark.parametrize(
    ("arguments", "options", "heap"),
    [
        (["node", "--max-old-space-size=100", "a.js"], None, "100.0 MiB"),
        (["node", "--max_old_space_size", "4096"], None, "4,096.0 MiB"),
        (["node", "a.js"], "--trace-gc --max-old-space-size=200", "200.0 MiB"),
        (["node", "--max-old-space-size=50"], "--max-old-space-size=200", "200.0 MiB"),
    ],
)
def test_a_heap_of_node_that_may_grow_to_the_limit_is_named(arguments, options, heap):
    found = of(*arguments, process__environment={"NODE_OPTIONS": options})
    text = advice.node_heap(found)

    assert text == (
        f"--max-old-space-size lets the heap grow to {heap}, and the limit is 100.0 MiB: lower it to"
        " 75, three quarters of the limit in MiB."
    )
    assert advice.node_default(found) is None


@pytest.mark.parametrize(
    "arguments", [["node", "--max-old-space-size=99"], ["node", "--max-old-space-size=9x"], ["ruby"]]
)
def test_a_heap_of_node_below_the_limit_is_not_named(arguments):
    assert advice.node_heap(of(*arguments)) is None


@pytest.mark.parametrize(
    ("arguments", "facts", "is_said"),
    [
        (["node", "a.js"], {}, True),
        (["node", "x--max-old-space-size=9"], {}, True),
        (["node", "--max-old-space-size=9"], {}, False),
        (["ruby"], {}, False),
        ([], {"process__comm": "node"}, False),
        (["node"], {"base": GLOBAL}, False),
        (["node"], {"oom__memcg": {"limit": MIB - 1}}, False),
        (["node"], {"oom__memcg": {"limit": MIB}}, True),
        (["node"], {"process__memory": {"anon": 49, "file": 51}}, False),
        (["node"], {"process__memory": {"anon": 50, "file": 50}}, True),
    ],
)
def test_a_size_is_advised_for_node_if_it_has_none(arguments, facts, is_said):
    assert bool(advice.node_default(of(*arguments, **facts))) is is_said


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("91MiB", "GOMEMLIMIT is 91.0 MiB and the limit 100.0 MiB: "),
        ("1GiB", "GOMEMLIMIT is 1,024.0 MiB"),
        ("102400KiB", "GOMEMLIMIT is 100.0 MiB"),
        ("104857600", "GOMEMLIMIT is 100.0 MiB"),
        ("104857600B", "GOMEMLIMIT is 100.0 MiB"),
        ("90MiB", None),
        ("off", None),
        ("1gib", None),
        (None, None),
    ],
)
def test_a_limit_of_go_that_leaves_no_tenth_is_named(value, expected):
    text = advice.go_limit(of(process__environment={"GOMEMLIMIT": value}))

    assert (text or "").startswith(expected) if expected else text is None


def workers(number: int, size: int, comm: str = "worker") -> list[dict[str, Any]]:
    return [{"pid": 10 + at, "comm": comm, "points": 1, "memory": size * MIB} for at in range(number)]


@pytest.mark.parametrize(
    ("candidates", "facts", "expected"),
    [
        (
            workers(2, 40),
            {},
            "At least 3 processes named worker of up to 40.0 MiB share 100.0 MiB, which holds 2 of that",
        ),
        (workers(2, 20), {}, "At least 3 processes"),
        (workers(2, 19), {}, None),
        (workers(2, 40, "other"), {}, None),
        (workers(1, 40), {"anon": 60}, None),
        (workers(2, 40), {"anon": 33}, None),
        (workers(2, 110), {"anon": 101}, None),
        (workers(2, 40), {"job__system": "gunicorn"}, "of that size: lower --workers, or raise the limit."),
        (workers(2, 40), {"job__system": "other"}, "of that size: start fewer, or raise the limit."),
        (workers(2, 40), {"base": GLOBAL}, None),
    ],
)
def test_more_workers_than_fit_are_counted(candidates, facts, expected):
    text = advice.workers(of(**{"anon": 40, "oom__candidates": candidates, **facts}))

    assert expected in (text or "") if expected else text is None


SIDEKIQ = {"job__system": "sidekiq", "process__threads": 2}


@pytest.mark.parametrize(
    ("facts", "is_said"),
    [
        ({}, True),
        ({"process__threads": 1}, False),
        ({"job__system": "resque"}, False),
        ({"process__environment": {"MALLOC_ARENA_MAX": "2"}}, False),
        ({"process__memory": {"anon": 49, "file": 51}}, False),
    ],
)
def test_arenas_are_limited_for_sidekiq_with_threads_and_heap(facts, is_said):
    assert bool(advice.sidekiq_arenas(of(**{**SIDEKIQ, **facts}))) is is_said


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("sidekiq 7 app [1 of 5 busy]", "1 job was running ([1 of 5 busy]), and lost"),
        ("sidekiq 7 app [1200 of 1500 busy]", "1,200 jobs were running ([1200 of 1500 busy]), and lost"),
        ("sidekiq 7 app [0 of 5 busy]", None),
        ("sidekiq 7 app", None),
    ],
)
def test_jobs_of_sidekiq_that_were_running_are_counted(title, expected):
    text = advice.sidekiq_job(of(job__system="sidekiq", process__title=title))

    assert (text or "").startswith(expected) if expected else text is None
    assert advice.sidekiq_job(of(job__system="sidekiq", process__title=title, event="sigkill")) is None
    assert advice.sidekiq_job(of(job__system="resque", process__title=title)) is None


@pytest.mark.parametrize(
    ("rule", "job", "expected"),
    [
        (advice.celery_job, {"system": "celery", "role": "worker"}, "It had grown to 80.0 MiB: worker_max_memory_per_"),
        (advice.celery_job, {"system": "celery", "role": "master"}, None),
        (advice.celery_job, {"system": "rq", "role": "worker"}, None),
        (
            advice.postgresql,
            {"system": "postgresql"},
            "This backend held 80.0 MiB, and all sessions ended with it: lower",
        ),
        (advice.postgresql, {"system": "postgresql", "role": "postmaster"}, None),
        (advice.postgresql, {"system": "mysql"}, None),
        (advice.recycle, {"system": "gunicorn"}, "This one worker held 80.0 MiB of 100.0 MiB: --max-requests restarts"),
        (advice.recycle, {"system": "rq"}, None),
    ],
)
def test_a_job_system_has_advice_of_its_own(rule, job, expected):
    text = rule(of(job=job))

    assert (text or "").startswith(expected) if expected else text is None


def test_a_backend_that_fills_the_host_has_other_advice():
    text = advice.postgresql(of(job__system="postgresql", base=GLOBAL))

    assert "vm.overcommit_memory=2" in (text or "")


def test_a_worker_is_to_be_replaced_sooner_if_it_held_half_of_the_limit():
    born, died = "2026-11-28T08:00:00Z", "2026-11-28T09:00:00Z"
    text = advice.recycle(of(anon=50, job__system="puma", process__creation__time=born, time=died))

    assert (text or "").startswith("This one worker held 50.0 MiB of 100.0 MiB after 1 h: fewer threads")
    assert advice.recycle(of(anon=49, job__system="puma")) is None
