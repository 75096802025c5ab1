# SPDX-License-Identifier: Apache-2.0
"""The message of a kill."""

from __future__ import annotations

import pytest

from ooMtrace import record
from ooMtrace.record.message import describe, describe_kill, describe_process

WORKER = record.Process(pid=100, tid=101, comm="worker")


@pytest.mark.parametrize(
    ("process", "description"),
    [
        (WORKER, "worker (pid 100)"),
        (record.Process(tid=101, comm="worker"), "worker (pid 101)"),
        (record.Process(pid=100), "a process (pid 100)"),
        (record.Process(), "a process (pid None)"),
    ],
)
def test_a_process_has_its_name_and_process_id_or_thread_id(process, description):
    assert describe_process(process) == description


@pytest.mark.parametrize(
    ("verdict", "how"),
    [
        (None, ""),
        ("killed", ""),
        ("group_member", " as a member of its cgroup's memory.oom.group"),
        ("shared_mm", " because it shares the memory of the chosen process"),
    ],
)
def test_the_message_states_how_the_process_was_killed(verdict, how):
    message = describe_kill(WORKER, record.Oom(incident="1", verdict=verdict, scope="global"))

    assert message == f"worker (pid 100) was killed by the kernel's OOM killer{how}: the host is out of memory"


@pytest.mark.parametrize(
    ("scope", "reason"),
    [
        ("memcg", "a memory cgroup reached its limit"),
        ("global", "the host is out of memory"),
        ("cpuset", "the memory nodes of its cpuset are out of memory"),
        ("mempolicy", "the memory nodes of a memory policy are out of memory"),
        ("sysrq", "somebody asked for it with sysrq-f"),
        (None, "memory ran out"),
    ],
)
def test_the_message_states_the_scope(scope, reason):
    assert describe_kill(WORKER, record.Oom(incident="1", scope=scope)).endswith(f"OOM killer: {reason}")


@pytest.mark.parametrize(
    ("memcg", "reason"),
    [
        (record.Memcg(path="/job", limit=32 << 20), "memory cgroup /job reached its limit of 32.0 MiB"),
        (record.Memcg(path="/job", limit=1 << 19), "memory cgroup /job reached its limit of 0.5 MiB"),
        (record.Memcg(path="/job", limit=0), "memory cgroup /job reached its limit of 0.0 MiB"),
        (record.Memcg(path=None, limit=1 << 20), "memory cgroup ? reached its limit of 1.0 MiB"),
        (record.Memcg(path="/job"), "a memory cgroup reached its limit"),
    ],
)
def test_the_message_states_cgroup_and_limit(memcg, reason):
    assert describe_kill(WORKER, record.Oom(incident="1", scope="memcg", memcg=memcg)).endswith(f"OOM killer: {reason}")


@pytest.mark.parametrize(("length", "path"), [(200, "x" * 200), (201, "..." + "x" * 200)])
def test_a_long_path_is_shortened_to_its_end(length, path):
    oom = record.Oom(incident="1", scope="memcg", memcg=record.Memcg(path="x" * length, limit=1 << 20))

    assert f"memory cgroup {path} reached" in describe_kill(WORKER, oom)


def test_of_a_long_path_the_end_is_kept():
    oom = record.Oom(incident="1", scope="memcg", memcg=record.Memcg(path="/" + "a" * 150 + "b" * 150, limit=1 << 20))

    assert f"memory cgroup ...{'a' * 50}{'b' * 150} reached" in describe_kill(WORKER, oom)


ID = "a1" * 32
CONTAINER = record.Container(id=ID)
POD = record.Kubernetes(pod=record.Pod(uid="11111111-2222-3333-4444-555555555555"))


def kill(**facts: object) -> record.OomKill:
    facts = {"oom": record.Oom(incident="1", scope="global"), "process": WORKER, **facts}
    return record.OomKill(
        id="1",
        observed="",
        message="",
        fidelity="log",
        host=record.Host(),
        **facts,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("facts", "place"),
    [
        ({"container": CONTAINER}, "container a1a1a1a1a1a1"),
        ({"container": record.Container(id="shop_web", name="web")}, "container web"),
        ({"container": CONTAINER, "k8s": POD}, "pod 11111111/container a1a1a1a1a1a1"),
        ({"container": CONTAINER, "systemd": record.Systemd(unit="docker.scope")}, "container a1a1a1a1a1a1"),
        ({"k8s": POD}, "pod 11111111"),
        ({"k8s": record.Kubernetes(pod=record.Pod(uid="c3" * 16))}, "pod c3c3c3c3c3c3"),
        ({"systemd": record.Systemd(unit="web.service", slice="system.slice")}, "web.service"),
        ({"systemd": record.Systemd(unit="web.service", user=1000)}, "web.service of user 1000"),
        ({"systemd": record.Systemd(unit="session-3.scope", session="3", user=0)}, "session 3 of user 0"),
        ({"scheduler": record.Scheduler(system="slurm", id="123")}, "Slurm job 123"),
        ({"scheduler": record.Scheduler(system="slurm", id="123", step="batch")}, "Slurm job 123.batch"),
        ({"scheduler": record.Scheduler(system="htcondor", slot="slot1@box")}, "HTCondor slot slot1@box"),
        (
            {"scheduler": record.Scheduler(system="nomad", id="1b2c3d4e-1", task="redis")},
            "Nomad task redis of allocation 1b2c3d4e",
        ),
        (
            {"scheduler": record.Scheduler(system="ecs", id="77"), "container": CONTAINER},
            "ECS task 77/container a1a1a1a1a1a1",
        ),
    ],
)
def test_the_message_states_where_the_victim_ran(facts, place):
    assert describe(kill(**facts)) == f"worker (pid 100) in {place} was killed: the host is out of memory"


@pytest.mark.parametrize("systemd", [record.Systemd(slice="system.slice"), None])
def test_a_victim_of_no_known_place_is_killed_by_the_kernels_oom_killer(systemd):
    message = "worker (pid 100) was killed by the kernel's OOM killer: the host is out of memory"

    assert describe(kill(systemd=systemd)) == message


@pytest.mark.parametrize(
    ("owner", "reason"),
    [
        ("container", "container limit of 200.0 MiB"),
        ("pod", "pod limit of 200.0 MiB"),
        ("qos", "QoS class limit (a.slice) of 200.0 MiB"),
        ("kubepods", "limit of all pods of 200.0 MiB"),
        ("job", "job limit of 200.0 MiB"),
        ("unit", "unit limit of 200.0 MiB"),
        ("slice", "slice limit (a.slice) of 200.0 MiB"),
        ("cgroup", "memory cgroup /x/a.slice reached its limit of 200.0 MiB"),
    ],
)
def test_the_message_states_whose_limit_was_hit(owner, reason):
    memcg = record.Memcg(path="/x/a.slice", limit=200 << 20)
    oom = record.Oom(incident="1", scope="memcg", limit_owner=owner, memcg=memcg)

    assert describe(kill(oom=oom, container=CONTAINER)).endswith(f" was killed: {reason}")


@pytest.mark.parametrize(
    ("unit", "reason"),
    [("web.service", "unit limit (user@1000.service) of 200.0 MiB"), ("user@1000.service", "unit limit of 200.0 MiB")],
)
def test_the_message_names_the_unit_whose_limit_was_hit_if_it_is_not_the_victims(unit, reason):
    memcg = record.Memcg(path="/user.slice/user-1000.slice/user@1000.service", limit=200 << 20)
    oom = record.Oom(incident="1", scope="memcg", limit_owner="unit", memcg=memcg)

    assert describe(kill(oom=oom, systemd=record.Systemd(unit=unit))).endswith(f" in {unit} was killed: {reason}")


def test_a_limit_of_unknown_size_was_reached():
    oom = record.Oom(incident="1", scope="memcg", limit_owner="pod", memcg=record.Memcg(path="/x"))

    assert describe(kill(oom=oom, k8s=POD)) == "worker (pid 100) in pod 11111111 was killed: pod limit reached"


@pytest.mark.parametrize(
    ("process", "description"),
    [
        (WORKER, "sidekiq (worker, pid 100)"),
        (record.Process(pid=100, comm="sidekiq"), "sidekiq (pid 100)"),
        (record.Process(pid=100), "sidekiq (pid 100)"),
    ],
)
def test_a_worker_is_named_after_its_job_system(process, description):
    assert describe_process(process, record.Job(system="sidekiq")) == description


def test_a_batch_system_is_named_once():
    slurm = record.Scheduler(system="slurm", id="123")
    message = describe(kill(job=record.Job(system="slurm"), scheduler=slurm))

    assert message.startswith("worker (pid 100) in Slurm job 123 was killed")


def test_other_events_state_where_the_victim_ran_too():
    dying = kill(event="oom_dying", container=CONTAINER)
    gone = kill(event="oom_exit", container=CONTAINER, exit=record.Exit(kill="1", after_us=7700))

    assert describe(dying).startswith(
        "worker (pid 100) in container a1a1a1a1a1a1 was already dying when memory ran out"
    )
    assert describe(gone) == (
        "worker (pid 100) in container a1a1a1a1a1a1 is gone, 7.7 ms after the OOM killer's signal"
    )
