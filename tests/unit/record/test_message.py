# SPDX-License-Identifier: Apache-2.0
"""The message of a kill."""

from __future__ import annotations

import pytest

from ooMtrace import record
from ooMtrace.record.message import describe_kill, describe_process

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
