# SPDX-License-Identifier: Apache-2.0
"""From sightings to kills: one line for each process, one incident for each OOM, and verdicts that are true."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support.assembler_stream import GROUP, MS, Stream
from support.probe_events import (
    HOST,
    KILL_STACK,
    MEMBER_STACK,
    NO_LIMIT,
    NOW,
    SYMBOLS,
    candidate,
    decision,
    level,
    ranking,
    sighting,
    victim,
)

from ooMtrace import record
from ooMtrace.assemble.assembler import GROUP_WAIT_NS, INCIDENTS_KEPT, RANKINGS_KEPT, SHARER_WAIT_NS, Assembler
from ooMtrace.assemble.victim_context import join_path
from ooMtrace.events import Decision, Kind, Rss, Task, VictimEvent
from ooMtrace.settings import Level


def killed(pid: int, ktime: int = 10, **changes: Any) -> VictimEvent:
    return sighting(pid, ktime=ktime, **changes)


def member(pid: int, ktime: int = 20, **changes: Any) -> VictimEvent:
    return sighting(pid, ktime=ktime, stack=MEMBER_STACK, **changes)


def sharer(pid: int, ktime: int = 15, **changes: Any) -> VictimEvent:
    return sighting(pid, Kind.SHARER, ktime=ktime, **changes)


def dying(pid: int, ktime: int = 5, **changes: Any) -> VictimEvent:
    return sighting(pid, Kind.DYING, ktime=ktime, **changes)


def test_a_kill_is_told_at_once():
    stream = Stream().add(killed(100))

    assert stream.said() == [(100, "killed")]
    assert stream.assembler.next_due() is None


def test_a_sharer_is_told_20_ms_later():
    stream = Stream().add(killed(100), sharer(200), at=1000 * MS)

    assert stream.said() == [(100, "killed")]
    assert stream.assembler.next_due() == 1020 * MS
    assert stream.wait(1020 * MS - 1).said() == [(100, "killed")]
    assert stream.wait(1020 * MS).said() == [(100, "killed"), (200, "shared_mm")]
    assert stream.assembler.next_due() is None
    assert len(set(stream.incidents())) == 1


def test_a_sharer_is_told_once_however_often_it_is_seen():
    stream = Stream().add(killed(100), sharer(200), sharer(200), sharer(300)).wait(1 << 63)
    stream.add(sharer(200)).wait(1 << 63)

    assert stream.said() == [(100, "killed"), (200, "shared_mm"), (300, "shared_mm")]


def test_a_sharer_that_belongs_to_the_group_gives_one_line():
    stream = Stream().add(killed(100), sharer(200), member(200)).wait(1 << 63)

    assert stream.said() == [(100, "killed"), (200, "group_member")]
    assert len(set(stream.incidents())) == 1


def the_group(whole: Decision | None, *pids: int) -> list[VictimEvent]:
    """Sightings of a group kill: the chosen one, then each member by the way that leads to a member."""
    first, *others = pids
    return [
        killed(first, 0x10, memcg=GROUP, decision=whole),
        *(member(pid, 0x20 + i, memcg=GROUP, decision=whole) for i, pid in enumerate(others)),
    ]


BOTH_LEVELS = pytest.mark.parametrize(
    ("level_", "whole", "incident"), [("full", decision(ktime=0xD), "12345678-d"), ("reduced", None, "12345678-10")]
)


@BOTH_LEVELS
def test_a_group_of_three_is_told_100_ms_after_its_last_member_with_its_size(level_, whole, incident):
    first, *others = the_group(whole, 100, 101, 102)
    stream = Stream(level_).add(first, at=1000 * MS).add(others[0], at=1030 * MS).add(others[1], at=1060 * MS)

    assert stream.kills == []
    assert stream.assembler.next_due() == 1160 * MS
    assert stream.wait(1160 * MS - 1).kills == []
    assert stream.wait(1160 * MS).said() == [(100, "killed"), (101, "group_member"), (102, "group_member")]
    assert stream.incidents() == [incident] * 3
    assert [kill.oom.group for kill in stream.kills] == [record.Group(path="/job", size=3)] * 3
    assert stream.assembler.next_due() is None
    assert stream.wait(1 << 63).said() == [(100, "killed"), (101, "group_member"), (102, "group_member")]


@BOTH_LEVELS
def test_the_chosen_one_killed_again_with_its_group_is_silent_and_not_counted(level_, whole, incident):
    stream = Stream(level_).add(*the_group(whole, 100, 101, 100, 102, 101), at=1000 * MS).wait(1 << 63)

    assert stream.said() == [(100, "killed"), (101, "group_member"), (102, "group_member")]
    assert stream.sizes() == [3, 3, 3]
    assert stream.incidents() == [incident] * 3
    assert stream.add(*the_group(whole, 100, 100)[1:]).wait(1 << 63).said()[3:] == []


@BOTH_LEVELS
def test_a_sharer_that_becomes_a_member_gives_one_line_and_one_that_does_not_is_not_counted(level_, whole, incident):
    first, *others = the_group(whole, 100, 101, 102)
    sharers = [sharer(pid, 0x15, memcg=GROUP, decision=whole) for pid in (102, 300)]
    stream = Stream(level_).add(first, *sharers, *others).wait(1 << 63)

    assert stream.said() == [(100, "killed"), (300, "shared_mm"), (101, "group_member"), (102, "group_member")]
    assert stream.sizes() == [3, 3, 3, 3]
    assert stream.incidents() == [incident] * 4


@BOTH_LEVELS
def test_groups_of_two_triggers_that_take_turns_do_not_mix(level_, whole, incident):
    other = {"trigger": Task(500, 501, 1, "other")}
    theirs = whole and replace(whole, ktime=0xE, chosen_pid=600)
    ours = the_group(whole, 100, 101, 102)
    others = [replace(one, **other, ktime=one.ktime + 5) for one in the_group(theirs, 600, 601)]
    stream = Stream(level_).add(ours[0], others[0], ours[1], others[1], at=1000 * MS).add(ours[2], at=1050 * MS)

    assert stream.wait(1100 * MS).said() == [(600, "killed"), (601, "group_member")]
    assert stream.wait(1150 * MS).said()[2:] == [(100, "killed"), (101, "group_member"), (102, "group_member")]
    assert stream.sizes() == [2, 2, 3, 3, 3]
    assert stream.incidents() == ["12345678-e" if whole else "12345678-15"] * 2 + [incident] * 3


@BOTH_LEVELS
def test_a_group_of_one_waits_and_has_size_1(level_, whole, incident):
    stream = Stream(level_).add(*the_group(whole, 100), at=1000 * MS)

    assert stream.assembler.next_due() == 1000 * MS + GROUP_WAIT_NS == 1100 * MS
    assert (stream.said(), stream.wait(1100 * MS).said(), stream.sizes()) == ([], [(100, "killed")], [1])
    assert stream.incidents() == [incident]


def test_a_sharer_does_not_shorten_the_wait_for_a_group_but_may_prolong_it():
    stream = Stream().add(*the_group(None, 100), at=1000 * MS).add(sharer(200, memcg=GROUP), at=1001 * MS)

    assert stream.assembler.next_due() == 1100 * MS
    stream.add(sharer(201, memcg=GROUP), at=1095 * MS)
    assert stream.assembler.next_due() == 1095 * MS + SHARER_WAIT_NS == 1115 * MS


def test_version_1_kills_no_group_and_so_waits_for_none():
    stream = Stream().add(killed(100, memcg=GROUP, memcg_version=1))

    assert (stream.said(), stream.sizes()) == ([(100, "killed")], [None])


def test_a_decision_tells_the_members_whatever_the_stack_says():
    whole = decision(ktime=0xD)
    stream = Stream("full").add(member(100, decision=whole), *(killed(pid, 21, decision=whole) for pid in (101, 102)))

    assert stream.said() == [(100, "killed"), (101, "group_member"), (102, "group_member")]
    assert stream.incidents() == ["12345678-d"] * 3


def test_a_forgotten_incident_gives_up_what_it_held():
    stream = Stream().add(*the_group(None, 100, 101)).add(sharer(102, 0x30, memcg=GROUP))
    for tid in range(INCIDENTS_KEPT - 1):
        stream.add(killed(1000 + tid, trigger=Task(1000 + tid, 1000 + tid, 1, "other")))
    assert [pid for pid, _ in stream.said()] == list(range(1000, 1000 + INCIDENTS_KEPT - 1))
    stream.kills.clear()

    stream.add(killed(2000, trigger=Task(2000, 2000, 1, "other")))

    assert stream.said() == [(100, "killed"), (101, "group_member"), (102, "shared_mm"), (2000, "killed")]
    assert stream.sizes() == [2, 2, 2, None]
    assert stream.assembler.next_due() is None
    assert stream.wait(1 << 63).said()[4:] == []


def test_a_ranking_belongs_to_the_chosen_ones_line_of_the_same_decision():
    ours, theirs = decision(ktime=0xD), decision(ktime=0xE, chosen_pid=600)
    other = Task(500, 501, 1, "other")
    stream = Stream("full").add(
        ranking(0xD, weighed=31),
        ranking(0xE, weighed=32),
        ranking(0xF, weighed=33),
        killed(600, 0x11, decision=theirs, trigger=other),
        *the_group(ours, 100, 101),
        sharer(103, 0x30, memcg=GROUP, decision=ours),
        dying(104, 0x40, decision=ours),
        killed(700, 0x50, trigger=Task(700, 700, 1, "no decision")),
    )
    stream.wait(1 << 63)

    assert [(kill.process.pid, kill.oom.weighed, kill.oom.candidates is not None) for kill in stream.kills] == [
        (600, 32, True),
        (700, None, False),
        (100, 31, True),
        (101, None, False),
        (103, None, False),
    ]


def test_a_ranking_alone_gives_no_line():
    stream = Stream("full").add(ranking(0xD)).wait(1 << 63)

    assert (stream.kills, stream.assembler.next_due()) == ([], None)


def test_rankings_are_bounded_and_the_oldest_is_forgotten():
    stream = Stream("full").add(*(ranking(0x100 + i, weighed=i + 1) for i in range(RANKINGS_KEPT + 1)))

    for i in range(RANKINGS_KEPT + 1):
        stream.add(killed(100, 0x200 + i, decision=decision(ktime=0x100 + i)))

    assert [kill.oom.weighed for kill in stream.kills] == [None, 2, 3, 4, 5, 6, 7, 8, 9]
    assert len(stream.assembler._rankings) == RANKINGS_KEPT == 8


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
def test_a_candidates_memory_is_its_points_without_what_adj_adds_in_bytes(points, adj, totalpages, memory):
    best = (candidate(100, points, oom_score_adj=adj), candidate(None, -7, comm=None, memcg_path=None))
    (told,) = (
        Stream("full").add(ranking(0xD, *best), killed(100, decision=decision(ktime=0xD, totalpages=totalpages))).kills
    )

    assert told.oom.weighed == 2
    assert told.oom.candidates == (
        record.Candidate(pid=100, comm="worker", points=points, oom_score_adj=adj, memory=memory, cgroup="/job/worker"),
        record.Candidate(pid=None, comm=None, points=-7, oom_score_adj=0, memory=-7 * 4096, cgroup=None),
    )


CHEAP, SUM = Rss(file=200, anon=2000, swap=0, shmem=50), Rss(file=205, anon=2010, swap=1, shmem=50)
CHEAP_POINTS, SUM_POINTS = 2260, 2276


def weighed_with(stream: Stream, total: int | None, ktime: int, **changes: Any) -> int | None:
    """Tell of a kill; return the total of its line, which is our own reckoning where the kernel has none."""
    whole = None if total is None else decision(ktime=ktime, chosen_points=total)
    seen = killed(100, ktime + 1, victim=victim(**{"rss": CHEAP, "rss_sum": SUM, **changes}), decision=whole)
    return stream.add(seen).kills[-1].oom.points.total


@pytest.mark.parametrize(
    ("kernel", "total"),
    [
        ("5.15.0-91-generic", CHEAP_POINTS),
        ("6.18.44", CHEAP_POINTS),
        ("7.0.0", SUM_POINTS),
        ("7.3.0-rc1", SUM_POINTS),
        ("10.1", SUM_POINTS),
    ],
)
def test_before_anything_is_confirmed_the_version_says_how_the_kernel_weighs(kernel, total):
    assert weighed_with(Stream(kernel=kernel), None, 0x10) == total


@pytest.mark.parametrize(
    ("kernel", "confirmed", "after"),
    [
        ("6.18.44", SUM_POINTS, SUM_POINTS),
        ("6.18.44", CHEAP_POINTS, CHEAP_POINTS),
        ("7.3.0", CHEAP_POINTS, CHEAP_POINTS),
        ("7.3.0", SUM_POINTS, SUM_POINTS),
        ("6.18.44", 2300, CHEAP_POINTS),
        ("7.3.0", 2300, SUM_POINTS),
    ],
)
def test_a_total_that_confirms_one_of_two_readings_teaches_how_this_kernel_weighs(kernel, confirmed, after):
    stream = Stream("full", kernel=kernel)

    assert weighed_with(stream, confirmed, 0x10) == confirmed
    assert weighed_with(stream, None, 0x20) == after
    memory = stream.kills[-1].process.memory
    assert (memory.anon, memory.swap) == ((2000 * 4096, 0) if after == CHEAP_POINTS else (2010 * 4096, 4096))


@pytest.mark.parametrize(("kernel", "after"), [("6.18.44", CHEAP_POINTS), ("7.3.0", SUM_POINTS)])
def test_two_readings_that_are_the_same_teach_nothing(kernel, after):
    stream = Stream("full", kernel=kernel)

    assert weighed_with(stream, CHEAP_POINTS, 0x10, rss_sum=CHEAP) == CHEAP_POINTS
    assert weighed_with(stream, None, 0x20) == after


@pytest.mark.parametrize("whole", [None, decision()])
def test_the_chosen_one_is_killed_again_with_its_group_and_told_once(whole):
    stream = Stream().add(killed(100, decision=whole), member(100, decision=whole), member(101, decision=whole))

    assert stream.said() == [(100, "killed"), (101, "group_member")]


def test_two_ooms_of_one_trigger_are_two_incidents():
    stream = Stream().add(killed(100, 0x10), killed(101, 0x20))

    assert stream.incidents() == ["12345678-10", "12345678-20"]


def test_two_decisions_of_one_trigger_are_two_incidents_though_little_time_lies_between():
    first, second = decision(ktime=0x10), decision(ktime=0x11)
    stream = Stream("full").add(killed(100, 0x20, decision=first), killed(101, 0x21, decision=second))

    assert stream.incidents() == ["12345678-10", "12345678-11"]


def test_a_process_killed_again_in_another_oom_is_told_again():
    stream = Stream().add(killed(100, 0x10), killed(100, 0x20))

    assert stream.said() == [(100, "killed"), (100, "killed")]
    assert [kill.id for kill in stream.kills] == ["12345678-10-100", "12345678-20-100"]


def test_ooms_of_two_triggers_do_not_mix():
    other = Task(500, 501, 1, "other")
    stream = Stream().add(
        killed(100, 0x10), killed(600, 0x11, trigger=other), sharer(101), member(601, trigger=other), member(102)
    )

    assert stream.wait(1 << 63).said() == [
        (100, "killed"),
        (600, "killed"),
        (601, "group_member"),
        (102, "group_member"),
        (101, "shared_mm"),
    ]
    assert stream.incidents() == ["12345678-10", "12345678-11", "12345678-11", "12345678-10", "12345678-10"]


def test_two_threads_of_one_trigger_are_two_triggers():
    stream = Stream().add(killed(100, 0x10), member(101, 0x20, trigger=Task(100, 102, 8, "worker-2")))

    assert stream.incidents() == ["12345678-10", "12345678-20"]


def test_who_was_already_dying_is_not_mentioned_unless_asked_for():
    assert Stream().add(dying(100)).wait(1 << 63).kills == []

    (told,) = Stream(all=True).add(dying(100)).kills
    assert (told.event, told.severity, told.oom.verdict) == ("oom_dying", "INFO", None)
    assert told.message == ("worker (pid 100) was already dying when memory ran out; the OOM killer did not kill it")


def test_who_was_dying_and_is_then_killed_is_told():
    assert Stream().add(dying(100), killed(100)).said() == [(100, "killed")]
    assert Stream(all=True).add(dying(100), killed(100)).said() == [(100, None), (100, "killed")]


def test_without_a_process_id_the_threads_takes_its_place():
    nameless = victim(task=Task(None, 777, None, "worker"))

    stream = Stream("minimal").add(killed(0, victim=nameless), member(0, victim=nameless))

    (told,) = stream.kills
    assert told.id == "12345678-a-777"
    assert told.message.startswith("worker (pid 777) was killed")


def test_memory_is_bounded_however_many_threads_trigger():
    stream = Stream()
    for tid in range(10 * INCIDENTS_KEPT):
        stream.add(killed(100 + tid, trigger=Task(tid, tid, tid, "trigger")))

    assert len(stream.kills) == 10 * INCIDENTS_KEPT
    assert len(stream.assembler._incidents) == INCIDENTS_KEPT == 256


def test_the_incident_that_is_forgotten_is_the_oldest():
    stream = Stream()
    for tid in range(INCIDENTS_KEPT):
        stream.add(killed(100 + tid, 0x100 + tid, trigger=Task(tid, tid, tid, "trigger")))
    again = Task(0, 0, 0, "trigger")
    stream.add(killed(100, 0x900, trigger=again), killed(99, 0x901, trigger=Task(999, 999, 999, "new")))

    stream.add(member(98, 0x902, trigger=again), member(97, 0x903, trigger=Task(1, 1, 1, "trigger")))

    assert stream.incidents()[-2:] == ["12345678-900", "12345678-903"]


def test_without_a_boot_id_the_hosts_name_stands_in_ids():
    assembler = Assembler(replace(HOST, name="a-long-host-name", boot_id=None), SYMBOLS, "reduced")

    (told,) = assembler.add(killed(100), NOW)

    assert told.id == "a-long-h-a-100"


def only(seen: VictimEvent, level_: Level = "reduced") -> record.OomKill:
    (told,) = Stream(level_).add(seen).wait(1 << 63).kills
    return told


def test_a_kill_with_a_decision_becomes_this_record():
    seen = sighting(decision=decision())

    assert only(seen, "full") == record.OomKill(
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


@pytest.mark.parametrize(
    ("names", "expected"), [(None, None), ((), "/"), (("a",), "/a"), (("leaf", "middle", "top"), "/top/middle/leaf")]
)
def test_a_path_is_turned_round(names, expected):
    assert join_path(names) == expected


def test_a_peak_below_what_is_resident_is_not_believed():
    assert only(killed(100, victim=victim(hiwater_rss=10))).process.memory.peak_rss == 2250 * 4096
    assert only(killed(100, victim=victim(hiwater_rss=None))).process.memory.peak_rss is None


def test_the_memory_told_is_the_reading_that_the_kernel_weighed():
    exact = Rss(file=205, anon=2010, swap=1, shmem=50)
    seen = sighting(victim=victim(rss_sum=exact), decision=decision(chosen_points=2276))

    memory = only(seen).process.memory

    assert (memory.anon, memory.file, memory.swap) == (2010 * 4096, 205 * 4096, 4096)


def test_on_version_1_swap_is_what_memory_and_swap_have_more_than_memory():
    both = level(12, 1000, 2000, swap_usage=1300, swap_max=2500)

    memcg = only(sighting(memcg=(both, level(1)), memcg_version=1, trigger_memcg_ids=(12, 1))).oom.memcg

    assert (memcg.usage, memcg.limit) == (1000 * 4096, 2000 * 4096)
    assert (memcg.swap, memcg.swap_limit) == (300 * 4096, 500 * 4096)


@pytest.mark.parametrize(
    ("usage", "both", "most", "swap", "swap_limit"),
    [
        (1000, 1000, 2500, 0, 500 * 4096),
        (1000, 999, 2500, None, 500 * 4096),
        (1000, 0, NO_LIMIT, None, None),
        (1000, None, None, None, None),
        (1000, 1300, 1999, 300 * 4096, None),
    ],
)
def test_on_version_1_swap_is_not_known_where_memory_and_swap_together_are_less(usage, both, most, swap, swap_limit):
    cgroup = level(12, usage, 2000, swap_usage=both, swap_max=most)

    memcg = only(sighting(memcg=(cgroup, level(1)), memcg_version=1, trigger_memcg_ids=(12, 1))).oom.memcg

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
def test_the_group_is_the_highest_that_asks_for_it_within_the_domain(groups, version, expected):
    ids = ((12, 100, NO_LIMIT), (11, 8190, 8192), (1, 5, NO_LIMIT))
    memcg = tuple(level(*sizes, oom_group=group) for sizes, group in zip(ids, groups, strict=True))

    group = only(sighting(memcg=memcg, memcg_version=version)).oom.group

    assert group == (expected and record.Group(path=expected, size=1))


def test_in_a_global_oom_the_group_may_be_any_but_the_root():
    memcg = (level(12, oom_group=0), level(11, oom_group=1), level(1, oom_group=1))

    assert only(sighting(memcg=memcg, stack=(0x1050, 0x5000))).oom.group == record.Group(path="/job", size=1)


def test_the_cgroup_of_version_2_is_told_only_where_it_is_another_one():
    v1 = {"memcg_version": 1, "memcg_path": ("memory",), "memcg": (level(12), level(1))}

    assert only(sighting()).cgroup.v2 is None
    assert only(sighting(**v1, unified_id=None, unified_path=None)).cgroup.v2 is None
    other = only(sighting(**v1, unified_id=1 << 40, unified_path=("scope", "slice"))).cgroup
    assert other == record.Cgroup(
        path="/memory", id="12", version=1, v2=record.UnifiedCgroup(path="/slice/scope", id="1099511627776")
    )


def test_without_memory_cgroups_there_is_no_cgroup_in_the_line():
    assert only(sighting(memcg=(), memcg_path=None, memcg_version=None)).cgroup is None


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
def test_the_message_says_why(changes, reason):
    assert only(sighting(**changes)).message == f"worker (pid 100) was killed by the kernel's OOM killer: {reason}"


def test_the_message_says_how():
    stream = Stream().add(killed(100), sharer(101), member(102)).wait(1 << 63)
    reason = "memory cgroup /job reached its limit of 32.0 MiB"

    assert [kill.message for kill in stream.kills] == [
        f"worker (pid 100) was killed by the kernel's OOM killer: {reason}",
        "worker (pid 102) was killed by the kernel's OOM killer as a member of its cgroup's memory.oom.group: "
        + reason,
        "worker (pid 101) was killed by the kernel's OOM killer because it shares the memory of the chosen process: "
        + reason,
    ]


def test_a_long_path_is_told_by_its_end():
    long = sighting(memcg_path=("worker", "x" * 250))

    assert f"memory cgroup ...{'x' * 200} reached" in only(long).message


NO_CONTEXT = {
    f"process.{name}" for name in ("executable", "working_directory", "open_files", "connections", "command_args")
}
"""What is missing where the victim could not be looked at."""


def test_nothing_known_makes_a_record_that_names_all_that_is_missing():
    nobody = Task(None, None, None, None)
    nothing = Rss(None, None, None, None)
    blank = replace(victim(), **dict.fromkeys(("uid", "start_boottime", "oom_score_adj", "threads", "pgtables_bytes")))
    blank = replace(blank, task=nobody, parent=nobody, rss=nothing, total_vm=None, hiwater_rss=None)
    blank = replace(blank, pid_ns=None, net_ns=None, hostname=None)

    told = only(
        sighting(victim=blank, trigger=nobody, memcg=(), memcg_path=None, memcg_version=None, unified_id=None, stack=())
    )

    assert told.message == "a process (pid None) was killed by the kernel's OOM killer: memory ran out"
    assert set(record.missing_facts(told)) == {
        *("oom.scope", "oom.constraint", "oom.gfp_mask", "oom.order", "oom.limit_bytes", "oom.points"),
        *("oom.trigger.pid", "oom.trigger.tid", "oom.trigger.comm"),
        *(f"process.{name}" for name in ("pid", "tid", "vpid", "comm", "threads", "oom_score_adj")),
        *("process.parent", "process.user", "process.creation", "process.memory"),
        *("namespace", "cgroup"),
        *NO_CONTEXT,
    }


def test_an_object_of_which_anything_is_known_is_missing_only_in_part():
    told = only(sighting(victim=victim(parent=Task(90, None, None, None), pid_ns=None, net_ns=None)))

    assert set(record.missing_facts(told)) == {
        *("oom.constraint", "oom.gfp_mask", "oom.order"),
        *("process.parent.vpid", "process.parent.comm", "namespace.pid_ns", "namespace.net_ns"),
        *NO_CONTEXT,
    }


@pytest.mark.parametrize(("constraint", "expected"), [(3, ["oom.memcg"]), (0, [])])
def test_a_memory_cgroup_is_missing_only_where_one_was_out_of_memory(constraint, expected):
    told = only(sighting(decision=decision(constraint=constraint, memcg_id=None)), "full")

    assert [name for name in record.missing_facts(told) if name not in NO_CONTEXT] == expected


def test_on_a_host_of_two_nodes_the_message_does_not_say_what_is_not_known():
    assembler = Assembler(HOST, SYMBOLS, "reduced")

    (told,) = assembler.add(killed(100, stack=(0x1050, 0x5000)), replace(NOW, nodes=2))

    assert (told.oom.scope, told.oom.limit_bytes, told.derived) == (None, None, ("oom.points",))
    assert told.message == "worker (pid 100) was killed by the kernel's OOM killer: memory ran out"
