# SPDX-License-Identifier: Apache-2.0
"""Which kills belong to one incident, and the verdict on each."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.assembler_stream import BOTH_LEVELS, GROUP, MS, OTHER, Stream, group_kill, killed, member, sharer
from support.probe_events import decision, victim

from ooMtrace.assemble.incident import MAX_INCIDENTS
from ooMtrace.events import Task


def test_repeated_events_of_a_sharer_give_one_line():
    stream = Stream().add(killed(100), sharer(200), sharer(200), sharer(300)).advance()
    stream.add(sharer(200)).advance()

    assert stream.verdicts() == [(100, "killed"), (200, "shared_mm"), (300, "shared_mm")]


def test_a_sharer_that_is_also_a_group_member_gives_one_line():
    stream = Stream().add(killed(100), sharer(200), member(200)).advance()

    assert stream.verdicts() == [(100, "killed"), (200, "group_member")]
    assert len(set(stream.incidents())) == 1


def test_a_sharer_that_is_also_a_group_member_has_the_threads_it_had_before_the_first_signal():
    first, second = (victim(200, threads=threads) for threads in (3001, 2955))
    stream = Stream().add(killed(100), sharer(200, victim=first), member(200, victim=second)).advance()

    assert [kill.process.threads for kill in stream.kills] == [3, 3001]


@BOTH_LEVELS
def test_a_repeat_kill_gives_no_line_and_is_not_counted(level_, decision_, incident):
    stream = Stream(level_).add(*group_kill(decision_, 100, 101, 100, 102, 101), at=1000 * MS).advance()

    assert stream.verdicts() == [(100, "killed"), (101, "group_member"), (102, "group_member")]
    assert stream.group_sizes() == [3, 3, 3]
    assert stream.incidents() == [incident] * 3
    assert stream.add(*group_kill(decision_, 100, 100)[1:]).advance().verdicts()[3:] == []


@BOTH_LEVELS
def test_only_a_sharer_that_becomes_a_member_counts_in_the_group_size(level_, decision_, incident):
    first, *others = group_kill(decision_, 100, 101, 102)
    sharers = [sharer(pid, 0x15, memcg=GROUP, decision=decision_) for pid in (102, 300)]
    stream = Stream(level_).add(first, *sharers, *others).advance()

    assert stream.verdicts() == [(100, "killed"), (300, "shared_mm"), (101, "group_member"), (102, "group_member")]
    assert stream.group_sizes() == [3, 3, 3, 3]
    assert stream.incidents() == [incident] * 4


@BOTH_LEVELS
def test_interleaved_group_kills_of_two_triggers_are_separate_incidents(level_, decision_, incident):
    theirs = decision_ and replace(decision_, ktime=0xE, chosen_pid=600)
    ours = group_kill(decision_, 100, 101, 102)
    others = [replace(event, trigger=OTHER, ktime=event.ktime + 5) for event in group_kill(theirs, 600, 601)]
    stream = Stream(level_).add(ours[0], others[0], ours[1], others[1], at=1000 * MS).add(ours[2], at=1050 * MS)

    assert stream.advance(1100 * MS).verdicts() == [(600, "killed"), (601, "group_member")]
    assert stream.advance(1150 * MS).verdicts()[2:] == [(100, "killed"), (101, "group_member"), (102, "group_member")]
    assert stream.group_sizes() == [2, 2, 3, 3, 3]
    assert stream.incidents() == ["12345678-e" if decision_ else "12345678-15"] * 2 + [incident] * 3


def test_the_decision_takes_precedence_over_the_stack_in_the_verdict():
    decision_ = decision(ktime=0xD)
    stream = Stream("full").add(
        member(100, decision=decision_), *(killed(pid, 21, decision=decision_) for pid in (101, 102))
    )

    assert stream.verdicts() == [(100, "killed"), (101, "group_member"), (102, "group_member")]
    assert stream.incidents() == ["12345678-d"] * 3


@pytest.mark.parametrize("decision_", [None, decision()])
def test_a_repeat_kill_without_group_gives_no_line(decision_):
    stream = Stream().add(
        killed(100, decision=decision_), member(100, decision=decision_), member(101, decision=decision_)
    )

    assert stream.verdicts() == [(100, "killed"), (101, "group_member")]


def test_two_kills_of_one_trigger_are_two_incidents():
    stream = Stream().add(killed(100, 0x10), killed(101, 0x20))

    assert stream.incidents() == ["12345678-10", "12345678-20"]


def test_two_decisions_of_one_trigger_are_two_incidents():
    first, second = decision(ktime=0x10), decision(ktime=0x11)
    stream = Stream("full").add(killed(100, 0x20, decision=first), killed(101, 0x21, decision=second))

    assert stream.incidents() == ["12345678-10", "12345678-11"]


def test_a_pid_killed_in_two_incidents_gives_two_lines():
    stream = Stream().add(killed(100, 0x10), killed(100, 0x20))

    assert stream.verdicts() == [(100, "killed"), (100, "killed")]
    assert [kill.id for kill in stream.kills] == ["12345678-10-100", "12345678-20-100"]


def test_interleaved_kills_of_two_triggers_are_separate_incidents():
    stream = Stream().add(
        killed(100, 0x10), killed(600, 0x11, trigger=OTHER), sharer(101), member(601, trigger=OTHER), member(102)
    )

    assert stream.advance().verdicts() == [
        (100, "killed"),
        (600, "killed"),
        (601, "group_member"),
        (102, "group_member"),
        (101, "shared_mm"),
    ]
    assert stream.incidents() == ["12345678-10", "12345678-11", "12345678-11", "12345678-10", "12345678-10"]


def test_two_threads_of_one_process_are_two_triggers():
    stream = Stream().add(killed(100, 0x10), member(101, 0x20, trigger=Task(100, 102, 8, "worker-2")))

    assert stream.incidents() == ["12345678-10", "12345678-20"]


def test_the_thread_id_identifies_a_victim_without_a_process_id():
    nameless = victim(task=Task(None, 777, None, "worker"))

    stream = Stream("minimal").add(killed(0, victim=nameless), member(0, victim=nameless))

    (kill,) = stream.kills
    assert kill.id == "12345678-a-777"
    assert kill.message.startswith("worker (pid 777) was killed")


def trigger(tid: int) -> Task:
    return Task(tid, tid, tid, "trigger")


def test_incidents_are_bounded_and_the_oldest_is_discarded():
    stream = Stream()
    for tid in range(MAX_INCIDENTS + 2):
        stream.add(killed(100 + tid, 0x100 + tid, trigger=trigger(tid)))
    stream.kills.clear()

    stream.add(member(98, 0x902, trigger=trigger(2)), member(97, 0x903, trigger=trigger(1)))

    assert stream.incidents() == ["12345678-102", "12345678-903"]
    assert MAX_INCIDENTS == 256


def test_the_last_incident_of_a_trigger_is_continued():
    stream = Stream().add(killed(100, 0x10), killed(101, 0x20), member(102, 0x30))

    assert stream.incidents() == ["12345678-10", "12345678-20", "12345678-20"]


def test_a_decision_without_chosen_pid_leaves_the_verdict_to_the_stack():
    unknown = decision(ktime=0xD, chosen_pid=None)
    stream = Stream("full").add(killed(100, decision=unknown), member(101, decision=unknown))

    assert stream.verdicts() == [(100, "killed"), (101, "group_member")]


def test_victims_without_process_id_are_distinguished_by_their_threads():
    nameless = [victim(task=Task(None, tid, None, "worker")) for tid in (777, 778)]
    stream = Stream("minimal").add(killed(0, victim=nameless[0]), member(0, victim=nameless[1]))

    assert [kill.process.tid for kill in stream.kills] == [777, 778]
