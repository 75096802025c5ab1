# SPDX-License-Identifier: Apache-2.0
"""The facts of a record, from the event of a victim and what is attributed to it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support.assembler_stream import Stream, killed, member, only, sharer
from support.probe_events import (
    HOST,
    KILL_STACK,
    NO_LIMIT,
    NOW,
    SYMBOLS,
    candidate,
    decision,
    level,
    ranking,
    victim,
    victim_event,
)

from ooMtrace import record
from ooMtrace.assemble.assembler import Assembler
from ooMtrace.assemble.attribution import UNLIMITED
from ooMtrace.events import Rss, Task


def test_a_kill_with_a_decision_becomes_this_record():
    event = victim_event(decision=decision())

    assert only(event, "full") == record.OomKill(
        event="oom_kill",
        severity="ERROR",
        id="12345678-ee6b2be8-100",
        seq=0,
        time="2023-11-14T22:13:19.000001Z",
        observed="2023-11-14T22:13:20.000000Z",
        message=(
            "worker (pid 100) was killed by the kernel's OOM killer: memory cgroup /job reached its limit of 32.0 MiB"
        ),
        fidelity="full",
        derived=(),
        host=HOST,
        oom=record.Oom(
            incident="12345678-ee6b2800",
            verdict="killed",
            scope="memcg",
            constraint="CONSTRAINT_MEMCG",
            gfp_mask=record.GfpMask(raw="0xcc0", flags=("GFP_KERNEL",)),
            order=0,
            points=record.Points(total=2260, rss=2250, swap=0, page_tables=10, adj=0, exact=True),
            limit_bytes=33554432,
            trigger=record.Trigger(pid=100, tid=101, comm="worker-io", cgroup="/job/worker"),
            memcg=record.Memcg(
                path="/job",
                id="11",
                version=2,
                usage=33546240,
                limit=33554432,
                high=None,
                peak=33546240,
                swap=0,
                swap_limit=None,
                events=record.MemcgEvents(high=0, max=12, oom=1, oom_kill=1, oom_group_kill=0),
            ),
        ),
        process=record.Process(
            pid=100,
            tid=100,
            vpid=7,
            comm="worker",
            parent=record.Parent(pid=90, vpid=1, comm="boss"),
            user=record.User(id=1000),
            creation=record.Creation(time="2023-11-14T22:13:19.000000Z"),
            threads=3,
            oom_score_adj=0,
            memory=record.Memory(
                anon=8192000,
                file=819200,
                shmem=204800,
                swap=0,
                page_tables=40960,
                total_vm=20480000,
                peak_rss=9420800,
            ),
        ),
        namespace=record.Namespace(hostname="box", pid_ns="4026531836", net_ns="4026531840"),
        cgroup=record.Cgroup(path="/job/worker", id="12", version=2),
    )


def test_without_a_boot_id_the_id_contains_the_host_name():
    assembler = Assembler(replace(HOST, name="a-long-host-name", boot_id=None), SYMBOLS, "reduced")

    (kill,) = assembler.add(killed(100), NOW)

    assert kill.id == "a-long-h-a-100"


@pytest.mark.parametrize(
    ("points", "adj", "totalpages", "memory"),
    [
        (2260, 0, 8192, 2260 * 4096),
        (2660, 50, 8192, 2260 * 4096),
        (-1740, -500, 8192, 2260 * 4096),
        (1250, 1000, 999, 1250 * 4096),
        (0, 0, 8192, 0),
        (2260, None, 8192, None),
        (2260, 5, None, None),
    ],
)
def test_the_memory_of_a_candidate_is_its_points_without_oom_score_adj_in_bytes(points, adj, totalpages, memory):
    best = (candidate(100, points, oom_score_adj=adj), candidate(None, -7, comm=None, memcg_path=None))
    (kill,) = (
        Stream("full").add(ranking(0xD, *best), killed(100, decision=decision(ktime=0xD, totalpages=totalpages))).kills
    )

    assert kill.oom.weighed == 2
    assert kill.oom.candidates == (
        record.Candidate(pid=100, comm="worker", points=points, oom_score_adj=adj, memory=memory, cgroup="/job/worker"),
        record.Candidate(pid=None, comm=None, points=-7, oom_score_adj=0, memory=-7 * 4096, cgroup=None),
    )


def test_the_peak_is_at_least_the_resident_memory():
    assert only(killed(100, victim=victim(hiwater_rss=10))).process.memory.peak_rss == 2250 * 4096
    assert only(killed(100, victim=victim(hiwater_rss=None))).process.memory.peak_rss is None


def test_memory_is_taken_from_the_reading_that_matches_the_kernels_total():
    summed = Rss(file=205, anon=2010, swap=1, shmem=50)
    event = victim_event(victim=victim(rss_sum=summed), decision=decision(chosen_points=2276))

    memory = only(event).process.memory

    assert (memory.anon, memory.file, memory.swap) == (2010 * 4096, 205 * 4096, 4096)


def test_on_version_1_swap_is_memsw_minus_memory():
    cgroup = level(12, 1000, 2000, swap_usage=1300, swap_max=2500)

    memcg = only(victim_event(memcg=(cgroup, level(1)), memcg_version=1, trigger_memcg_ids=(12, 1))).oom.memcg

    assert (memcg.usage, memcg.limit) == (1000 * 4096, 2000 * 4096)
    assert (memcg.swap, memcg.swap_limit) == (300 * 4096, 500 * 4096)


@pytest.mark.parametrize(
    ("usage", "memsw", "memsw_max", "swap", "swap_limit"),
    [
        (1000, 1000, 2500, 0, 500 * 4096),
        (1000, 999, 2500, None, 500 * 4096),
        (1000, 0, NO_LIMIT, None, None),
        (1000, None, None, None, None),
        (1000, 1300, 1999, 300 * 4096, None),
    ],
)
def test_on_version_1_swap_is_unknown_if_memsw_is_less_than_memory(usage, memsw, memsw_max, swap, swap_limit):
    cgroup = level(12, usage, 2000, swap_usage=memsw, swap_max=memsw_max)

    memcg = only(victim_event(memcg=(cgroup, level(1)), memcg_version=1, trigger_memcg_ids=(12, 1))).oom.memcg

    assert (memcg.swap, memcg.swap_limit) == (swap, swap_limit)


@pytest.mark.parametrize(
    ("groups", "version", "expected"),
    [
        ((0, 0, 0), 2, None),
        ((1, 0, 0), 2, "/job/worker"),
        ((1, 1, 0), 2, "/job"),
        ((0, 1, 0), 2, "/job"),
        ((1, 0, 1), 2, "/job/worker"),
        ((None, None, None), 2, None),
        ((1, 1, 0), 1, None),
        ((1, 1, 0), None, None),
    ],
)
def test_the_group_is_the_highest_memory_oom_group_within_the_domain(groups, version, expected):
    ids = ((12, 100, NO_LIMIT), (11, 8190, 8192), (1, 5, NO_LIMIT))
    memcg = tuple(level(*sizes, oom_group=group) for sizes, group in zip(ids, groups, strict=True))

    group = only(victim_event(memcg=memcg, memcg_version=version)).oom.group

    assert group == (expected and record.Group(path=expected, size=1))


def test_in_a_global_oom_the_group_may_be_any_cgroup_but_the_root():
    memcg = (level(12, oom_group=0), level(11, oom_group=1), level(1, oom_group=1))

    assert only(victim_event(memcg=memcg, stack=(0x1050, 0x5000))).oom.group == record.Group(path="/job", size=1)


def test_the_unified_cgroup_is_included_only_if_it_differs():
    v1: dict[str, Any] = {"memcg_version": 1, "memcg_path": ("memory",), "memcg": (level(12), level(1))}

    assert only(victim_event()).cgroup.v2 is None
    assert only(victim_event(**v1, unified_id=None, unified_path=None)).cgroup.v2 is None
    other = only(victim_event(**v1, unified_id=1 << 40, unified_path=("scope", "slice"))).cgroup
    assert other == record.Cgroup(
        path="/memory", id="12", version=1, v2=record.UnifiedCgroup(path="/slice/scope", id="1099511627776")
    )
    same_path = only(victim_event(**v1, unified_id=40, unified_path=("memory",))).cgroup
    assert same_path.v2 == record.UnifiedCgroup(path="/memory", id="40")


def test_without_memory_cgroups_the_record_has_no_cgroup():
    assert only(victim_event(memcg=(), memcg_path=None, memcg_version=None)).cgroup is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"decision": decision(constraint=0, memcg_id=None)}, "the host is out of memory"),
        ({"decision": decision(constraint=1, memcg_id=None)}, "the memory nodes of its cpuset are out of memory"),
        ({"decision": decision(constraint=2, memcg_id=None)}, "the memory nodes of a memory policy are out of memory"),
        ({"decision": decision(constraint=0, order=-1, memcg_id=None)}, "somebody asked for it with sysrq-f"),
        ({"decision": decision(memcg_id=None)}, "a memory cgroup reached its limit"),
        ({"stack": ()}, "memory ran out"),
        ({"stack": KILL_STACK}, "memory cgroup /job reached its limit of 32.0 MiB"),
        ({"memcg_path": None}, "memory cgroup ? reached its limit of 32.0 MiB"),
    ],
)
def test_the_message_states_the_reason(changes, reason):
    assert only(victim_event(**changes)).message == f"worker (pid 100) was killed by the kernel's OOM killer: {reason}"


def test_the_message_states_the_verdict():
    stream = Stream().add(killed(100), sharer(101), member(102)).advance()
    reason = "memory cgroup /job reached its limit of 32.0 MiB"

    assert [kill.message for kill in stream.kills] == [
        f"worker (pid 100) was killed by the kernel's OOM killer: {reason}",
        "worker (pid 102) was killed by the kernel's OOM killer as a member of its cgroup's memory.oom.group: "
        + reason,
        "worker (pid 101) was killed by the kernel's OOM killer because it shares the memory of the chosen process: "
        + reason,
    ]


def test_on_a_host_with_two_nodes_the_message_does_not_state_a_scope():
    assembler = Assembler(HOST, SYMBOLS, "reduced")

    (kill,) = assembler.add(killed(100, stack=(0x1050, 0x5000)), replace(NOW, nodes=2))

    assert (kill.oom.scope, kill.oom.limit_bytes, kill.derived) == (None, None, ("oom.points",))
    assert kill.message == "worker (pid 100) was killed by the kernel's OOM killer: memory ran out"


def test_sizes_follow_the_page_size_of_the_host():
    event = victim_event(victim=victim(pgtables_bytes=3 << 16))
    assembler = Assembler(HOST, SYMBOLS, "reduced")

    (kill,) = assembler.add(event, replace(NOW, page_size=1 << 16))

    assert (kill.oom.limit_bytes, kill.oom.memcg.limit, kill.oom.memcg.usage) == (8192 << 16, 8192 << 16, 8190 << 16)
    assert (kill.process.memory.anon, kill.process.memory.page_tables) == (2000 << 16, 3 << 16)
    assert kill.oom.points == record.Points(total=2253, rss=2250, swap=0, page_tables=3, adj=0)


@pytest.mark.parametrize(("pages", "size"), [(UNLIMITED - 1, (UNLIMITED - 1) * 4096), (UNLIMITED, None)])
def test_a_limit_that_the_kernel_treats_as_unlimited_is_absent(pages, size):
    memcg = (level(12), level(11, usage=8190, limit=8192, high=pages, swap_max=pages), level(1))

    domain = only(victim_event(memcg=memcg)).oom.memcg

    assert (domain.high, domain.swap_limit) == (size, size)


def test_a_kill_that_the_kernel_counted_has_its_ordinal_and_thread_in_the_id():
    kill = only(victim_event(victim=victim(task=Task(100, 102, 7, "worker")), ordinal=17))

    assert (kill.id, kill.oom.number) == ("12345678-17-102", 17)
