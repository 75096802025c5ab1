# SPDX-License-Identifier: Apache-2.0
"""When lines are emitted: immediately, or when a deadline has passed."""

from __future__ import annotations

import pytest
from support.assembler_stream import (
    BOTH_LEVELS,
    GROUP,
    MS,
    START,
    Stream,
    dying,
    group_kill,
    killed,
    member,
    sharer,
    signalled,
)

from ooMtrace import record
from ooMtrace.assemble.assembler import CONTEXT_TIMEOUT_NS, GROUP_TIMEOUT_NS, SHARER_TIMEOUT_NS
from ooMtrace.assemble.incident import MAX_INCIDENTS
from ooMtrace.events import Task, VictimEvent


def test_a_kill_without_context_is_emitted_immediately():
    stream = Stream().add(killed(100))

    assert stream.verdicts() == [(100, "killed")]
    assert stream.next_due() is None


def test_a_sharer_is_emitted_after_20_ms():
    stream = Stream().add(killed(100), sharer(200), at=1000 * MS)

    assert stream.verdicts() == [(100, "killed")]
    assert stream.next_due() == 1020 * MS
    assert stream.advance(1020 * MS - 1).verdicts() == [(100, "killed")]
    assert stream.advance(1020 * MS).verdicts() == [(100, "killed"), (200, "shared_mm")]
    assert stream.next_due() is None
    assert len(set(stream.incidents())) == 1


@BOTH_LEVELS
def test_a_group_kill_is_emitted_100_ms_after_its_last_member_with_its_size(level_, decision_, incident):
    first, *others = group_kill(decision_, 100, 101, 102)
    stream = Stream(level_).add(first, at=1000 * MS).add(others[0], at=1030 * MS).add(others[1], at=1060 * MS)

    assert stream.kills == []
    assert stream.next_due() == 1160 * MS
    assert stream.advance(1160 * MS - 1).kills == []
    assert stream.advance(1160 * MS).verdicts() == [(100, "killed"), (101, "group_member"), (102, "group_member")]
    assert stream.incidents() == [incident] * 3
    assert [kill.oom.group for kill in stream.kills] == [record.Group(path="/job", size=3)] * 3
    assert stream.next_due() is None
    assert stream.advance().verdicts() == [(100, "killed"), (101, "group_member"), (102, "group_member")]


@BOTH_LEVELS
def test_a_group_of_one_is_held_and_has_size_1(level_, decision_, incident):
    stream = Stream(level_).add(*group_kill(decision_, 100), at=1000 * MS)

    assert stream.next_due() == 1000 * MS + GROUP_TIMEOUT_NS == 1100 * MS
    assert (stream.verdicts(), stream.advance(1100 * MS).verdicts(), stream.group_sizes()) == (
        [],
        [(100, "killed")],
        [1],
    )
    assert stream.incidents() == [incident]


def test_a_sharer_does_not_shorten_the_group_timeout_but_may_extend_it():
    stream = Stream().add(*group_kill(None, 100), at=1000 * MS).add(sharer(200, memcg=GROUP), at=1001 * MS)

    assert stream.next_due() == 1100 * MS
    stream.add(sharer(201, memcg=GROUP), at=1095 * MS)
    assert stream.next_due() == 1095 * MS + SHARER_TIMEOUT_NS == 1115 * MS


def test_a_discarded_incident_emits_the_lines_it_held():
    stream = Stream().add(*group_kill(None, 100, 101)).add(sharer(102, 0x30, memcg=GROUP))
    for tid in range(MAX_INCIDENTS - 1):
        stream.add(killed(1000 + tid, trigger=Task(1000 + tid, 1000 + tid, 1, "other")))
    assert [pid for pid, _ in stream.verdicts()] == list(range(1000, 1000 + MAX_INCIDENTS - 1))
    stream.kills.clear()

    stream.add(killed(2000, trigger=Task(2000, 2000, 1, "other")))

    assert stream.verdicts() == [(100, "killed"), (101, "group_member"), (102, "shared_mm"), (2000, "killed")]
    assert stream.group_sizes() == [2, 2, 2, None]
    assert stream.next_due() is None
    assert stream.advance().verdicts()[4:] == []


def test_a_dying_process_is_emitted_only_with_all():
    assert Stream().add(dying(100)).advance().kills == []

    (kill,) = Stream(all=True).add(dying(100)).kills
    assert (kill.event, kill.severity, kill.oom.verdict) == ("oom_dying", "INFO", None)
    assert kill.message == ("worker (pid 100) was already dying when memory ran out; the OOM killer did not kill it")


def test_a_dying_process_that_is_then_killed_is_emitted():
    assert Stream().add(dying(100), killed(100)).verdicts() == [(100, "killed")]
    assert Stream(all=True).add(dying(100), killed(100)).verdicts() == [(100, None), (100, "killed")]


@pytest.mark.parametrize("timeout_factor", [0.5, 1.0, 3.0])
def test_the_timeout_factor_multiplies_the_timeouts_of_contexts_and_groups_but_not_of_sharers(timeout_factor):
    def next_due(*events: VictimEvent) -> int | None:
        return Stream(timeout_factor=timeout_factor).add(*events, at=START).next_due()

    assert next_due(signalled()) == START + timeout_factor * CONTEXT_TIMEOUT_NS
    assert next_due(*group_kill(None, 100)) == START + timeout_factor * GROUP_TIMEOUT_NS
    assert next_due(killed(100), sharer(200)) == START + SHARER_TIMEOUT_NS


def test_events_that_arrive_out_of_order_are_emitted_in_the_kernels_order():
    first, second, third = group_kill(None, 100, 101, 102)
    stream = Stream().add(first, third, second).advance()

    assert [kill.process.pid for kill in stream.kills] == [100, 101, 102]


def test_a_dying_process_opens_no_incident():
    stream = Stream(all=True).add(dying(100, 0x5), member(101, 0x20))

    assert stream.incidents() == ["12345678-5", "12345678-20"]


@pytest.mark.parametrize("memcg_version", [1, None])
def test_only_version_2_has_group_kills_and_their_timeout(memcg_version):
    stream = Stream().add(killed(100, memcg=GROUP, memcg_version=memcg_version))

    assert (stream.verdicts(), stream.group_sizes()) == ([(100, "killed")], [None])
