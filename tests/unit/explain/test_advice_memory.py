# SPDX-License-Identifier: Apache-2.0
"""Advice about the kind of memory that filled a limit: from which share and speed on, and how a limit is raised."""

from __future__ import annotations

import pytest
from support.explained import MIB
from support.explained_text import GLOBAL, MEMCG, case

from ooMtrace.explain import advice_memory as advice

NOW, SECOND_AGO, MINUTE_AGO = "2026-11-28T09:00:00Z", "2026-11-28T08:59:59Z", "2026-11-28T08:59:00Z"
HOUR_AGO, NEARLY_HOUR_AGO = "2026-11-28T08:00:00Z", "2026-11-28T08:00:01Z"


def held(**sizes: int) -> dict[str, int]:
    return {"file": 0, "shmem": 0, "page_tables": 0, "swap": 0, **{name: size * MIB for name, size in sizes.items()}}


def stat(**sizes: int) -> dict[str, object]:
    sizes = {"anon": 0, "file": 0, **sizes}
    return {
        "path": "/a",
        "usage": 100 * MIB,
        "limit": 100 * MIB,
        "stat": {name: size * MIB for name, size in sizes.items()},
    }


def test_shared_memory_is_named_from_three_tenths_on():
    text = advice.shared_memory(case(MEMCG, oom__memcg=stat(anon=70, file=30, shmem=30)))

    assert text
    assert text.startswith("30.0 MiB of 100.0 MiB (30 %) is shared memory or files in a tmpfs")
    assert advice.shared_memory(case(MEMCG, oom__memcg=stat(anon=71, file=29, shmem=29))) is None
    assert advice.shared_memory(case(GLOBAL, process__memory=held(anon=0, shmem=50))) is None


def test_page_tables_are_named_from_a_quarter_on():
    text = advice.page_tables(case(MEMCG, process__memory={**held(anon=75, page_tables=25), "total_vm": 4096 * MIB}))

    assert text
    assert text.startswith("25.0 MiB (25 %) is page tables for an address space of 4,096.0 MiB: ")
    without = advice.page_tables(case(MEMCG, process__memory=held(anon=75, page_tables=25)))
    assert without
    assert without.startswith("25.0 MiB (25 %) is page tables: ")
    assert advice.page_tables(case(MEMCG, process__memory=held(anon=76, page_tables=24))) is None


def test_the_largest_kind_of_kernel_memory_is_named():
    text = advice.kernel_memory(case(MEMCG, oom__memcg=stat(anon=70, kernel=30, slab=5, sock=20, kernel_stack=3)))

    assert text == (
        "30.0 MiB (30 %) is kernel memory, most of it socket buffers (20.0 MiB): count its files, sockets and threads."
    )
    nothing = advice.kernel_memory(case(MEMCG, oom__memcg=stat(anon=70, kernel=30)))
    assert nothing
    assert nothing.startswith("30.0 MiB (30 %) is kernel memory: ")
    assert advice.kernel_memory(case(MEMCG, oom__memcg=stat(anon=71, kernel=29))) is None


@pytest.mark.parametrize(
    ("base", "sizes", "is_said"),
    [
        (MEMCG, {"anon": 50, "file": 50}, True),
        (MEMCG, {"anon": 51, "file": 50}, False),
        (MEMCG, {"anon": 40, "file": 49}, False),
        (GLOBAL, {"anon": 50, "file": 50}, False),
    ],
)
def test_mapped_files_are_named_if_they_are_half_of_the_limit_and_of_what_it_held(base, sizes, is_said):
    assert bool(advice.mapped_files(case(base, process__memory=held(**sizes)))) is is_said


OWN = {"process__memory": held(anon=70), "time": NOW, "process__creation__time": SECOND_AGO}


@pytest.mark.parametrize(
    ("facts", "is_said"),
    [
        ({}, True),
        ({"process__memory": held(anon=69)}, False),
        ({"oom__verdict": "group_member"}, False),
        ({"oom__verdict": "shared_mm"}, False),
        ({"event": "sigkill"}, False),
        ({"oom__scope": "cpuset"}, False),
        ({"oom__memcg": {"path": "/a"}}, False),
    ],
)
def test_its_own_growth_is_the_cause_from_seven_tenths_of_the_limit_on(facts, is_said):
    found = case(MEMCG, **{**OWN, **facts})

    assert [bool(rule(found)) for rule in (advice.spike, advice.too_small)] == [is_said, is_said]


def test_on_the_host_its_growth_is_compared_with_all_memory():
    assert advice.spike(case(GLOBAL, **OWN))
    assert advice.spike(case(GLOBAL, **{**OWN, "process__memory": held(anon=69)})) is None
    assert advice.too_small(case(GLOBAL, **OWN)) is None


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, "A spike: 70.0 MiB of heap in 1.0 s, 70.0 MiB a second."),
        ({"job": {"system": "sidekiq", "name": "Report"}}, "A spike inside Report: 70.0 MiB of heap"),
        ({"job": {"system": "php-fpm", "name": "www"}}, "A spike: "),
        ({"process__creation__time": "2026-11-28T08:59:53Z"}, "A spike: 70.0 MiB of heap in 7.0 s, 10.0 MiB a second."),
        ({"process__creation__time": "2026-11-28T08:59:52.9Z"}, None),
        ({"process__creation__time": NOW}, None),
        ({"process__creation__time": None}, None),
        (
            {
                "process__memory": held(anon=6000),
                "oom__memcg": {"usage": 6000 * MIB, "limit": 6000 * MIB},
                "process__creation__time": MINUTE_AGO,
            },
            None,
        ),
    ],
)
def test_growth_of_ten_mebibytes_a_second_within_a_minute_is_a_spike(facts, expected):
    text = advice.spike(case(MEMCG, **{**OWN, **facts}))

    assert (text or "").startswith(expected) if expected else text is None


@pytest.mark.parametrize(
    "system", ["sidekiq", "resque", "celery", "rq", "solid_queue", "good_job", "delayed_job", "airflow"]
)
def test_a_spike_is_inside_the_job_of_a_queue(system):
    text = advice.spike(case(MEMCG, **OWN, job={"system": system, "name": "Report"}))

    assert (text or "").startswith("A spike inside Report: ")


def test_growth_over_an_hour_or_more_is_a_leak():
    day_ago = "2026-11-27T05:00:00Z"
    text = advice.leak(case(MEMCG, **{**OWN, "process__creation__time": day_ago}))

    assert text
    assert text.startswith("It held 70.0 MiB of heap after 1 d 4 h, on average 2.5 MiB more each hour: ")
    assert advice.leak(case(MEMCG, **{**OWN, "process__creation__time": HOUR_AGO}))
    assert advice.leak(case(MEMCG, **{**OWN, "process__creation__time": NEARLY_HOUR_AGO})) is None


KILLS = {"path": "/a", "usage": 100 * MIB, "limit": 100 * MIB, "events": {"oom_kill": 3}}


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (
            {},
            "3 kills in this cgroup so far, this one 1.0 s after its start: what runs here needs more than 100.0 MiB.",
        ),
        ({"process__creation__time": None}, "3 kills in this cgroup so far: "),
        ({"oom__memcg": {**KILLS, "events": {"oom_kill": 2}}}, None),
        ({"process__creation__time": HOUR_AGO}, None),
        ({"oom__group__size": 3}, None),
        ({"process__memory": held(anon=69)}, None),
    ],
)
def test_from_the_third_kill_on_the_limit_is_too_small(facts, expected):
    text = advice.repeated(case(MEMCG, **{**OWN, "oom__memcg": KILLS, **facts}))

    assert (text or "").startswith(expected) if expected else text is None


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, ""),
        ({"oom__limit_owner": "container", "k8s__qos": "x"}, " Raise resources.limits.memory of the container."),
        ({"oom__limit_owner": "container", "container__runtime": "podman"}, " Raise it: podman update --memory."),
        ({"oom__limit_owner": "container", "container__runtime": "lxc"}, ""),
        ({"oom__limit_owner": "pod", "k8s__qos": "x"}, ""),
        (
            {"oom__limit_owner": "unit", "systemd": {"unit": "a@1.service", "manager": "system"}},
            " Raise it: systemctl set-property a@1.service MemoryMax=SIZE.",
        ),
        ({"oom__limit_owner": "unit", "systemd": {"unit": "a.service", "manager": "user"}}, ""),
        ({"oom__limit_owner": "unit", "systemd": {"unit": "a;b.service", "manager": "system"}}, ""),
        ({"oom__limit_owner": "unit", "systemd__manager": "system"}, ""),
        ({"oom__limit_owner": "slice", "systemd": {"unit": "a.service", "manager": "system"}}, ""),
        ({"oom__limit_owner": "job", "scheduler__system": "slurm"}, " Request more: sbatch --mem."),
        ({"oom__limit_owner": "job", "scheduler__system": "nomad"}, ""),
        ({"oom__limit_owner": "unit", "scheduler__system": "slurm"}, ""),
    ],
)
def test_the_way_to_raise_a_limit_is_that_of_its_owner(facts, expected):
    text = "70.0 MiB of heap filled the limit: if that is normal, it needs more than 100.0 MiB."

    assert advice.too_small(case(MEMCG, **OWN, **facts)) == text + expected
    assert (advice.repeated(case(MEMCG, **OWN, oom__memcg=KILLS, **facts)) or "").endswith(f"100.0 MiB.{expected}")


@pytest.mark.parametrize(
    ("facts", "is_said"),
    [
        ({"process__memory": held(anon=50)}, True),
        ({"process__memory": held(anon=51)}, False),
        ({"oom__trigger__pid": 7}, True),
        ({"oom__trigger__pid": 8}, False),
        ({"oom__memcg": stat(anon=10)}, False),
        ({"oom__candidates": [{"pid": 8, "points": 1}]}, False),
        ({"oom__scope": "global"}, False),
    ],
)
def test_memory_that_no_process_is_known_to_hold_is_named_from_a_half_on(facts, is_said):
    assert bool(advice.not_held(case(MEMCG, **facts))) is is_said
