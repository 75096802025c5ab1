# SPDX-License-Identifier: Apache-2.0
"""What arrives before its line: rankings, contexts and exits, each bounded."""

from __future__ import annotations

from support.assembler_stream import (
    GROUP,
    MS,
    OTHER,
    START,
    Stream,
    context_of,
    dying,
    group_kill,
    killed,
    sharer,
    signalled,
)
from support.probe_events import decision, exit_event, ranking

from ooMtrace.assemble.event_store import MAX_CONTEXTS, MAX_EXITS, MAX_RANKINGS
from ooMtrace.events import Task


def test_a_ranking_is_attached_to_the_chosen_process_of_the_same_decision():
    ours, theirs = decision(ktime=0xD), decision(ktime=0xE, chosen_pid=600)
    stream = Stream("full").add(
        ranking(0xD, weighed=31),
        ranking(0xE, weighed=32),
        ranking(0xF, weighed=33),
        killed(600, 0x11, decision=theirs, trigger=OTHER),
        *group_kill(ours, 100, 101),
        sharer(103, 0x30, memcg=GROUP, decision=ours),
        dying(104, 0x40, decision=ours),
        killed(700, 0x50, trigger=Task(700, 700, 1, "no decision")),
    )
    stream.advance()

    assert [(kill.process.pid, kill.oom.weighed, kill.oom.candidates is not None) for kill in stream.kills] == [
        (600, 32, True),
        (700, None, False),
        (100, 31, True),
        (101, None, False),
        (103, None, False),
    ]


def test_a_ranking_alone_gives_no_line():
    stream = Stream("full").add(ranking(0xD)).advance()

    assert (stream.kills, stream.next_due()) == ([], None)


def test_rankings_are_bounded_and_the_oldest_is_discarded():
    stream = Stream("full").add(*(ranking(0x100 + i, weighed=i + 1) for i in range(MAX_RANKINGS + 1)))

    for i in range(MAX_RANKINGS + 1):
        stream.add(killed(100, 0x200 + i, decision=decision(ktime=0x100 + i)))

    assert [kill.oom.weighed for kill in stream.kills] == [None, 2, 3, 4, 5, 6, 7, 8, 9]
    assert MAX_RANKINGS == 8


def test_contexts_are_bounded_and_the_oldest_is_discarded():
    stream = Stream().add(*(context_of(pid) for pid in range(100, 100 + 3 * MAX_CONTEXTS)), at=START)

    stream.add(signalled(100 + 2 * MAX_CONTEXTS - 1), signalled(100 + 2 * MAX_CONTEXTS), at=START + MS)
    assert stream.verdicts() == [(100 + 2 * MAX_CONTEXTS, "killed")]
    assert MAX_CONTEXTS == 128


def test_exits_are_bounded_and_the_oldest_is_discarded():
    stream = Stream(lifecycle=True)
    stream.add(*(exit_event(pid, START) for pid in range(100, 100 + 2 * MAX_EXITS)), at=START)
    assert stream.kills == []

    for pid in (100 + MAX_EXITS - 1, 100 + MAX_EXITS):
        stream.add(context_of(pid), signalled(pid), at=START + MS)

    oldest = 100 + MAX_EXITS
    assert stream.events() == [("oom_kill", oldest - 1), ("oom_kill", oldest), ("oom_exit", oldest)]
    assert MAX_EXITS == 512


def test_emitted_kills_are_bounded_and_the_oldest_is_discarded():
    stream = Stream(lifecycle=True)
    for i in range(2 * MAX_EXITS):
        stream.add(context_of(100 + i, START + i), signalled(100 + i, START + i), at=START + i)
    assert len(stream.kills) == 2 * MAX_EXITS
    stream.kills.clear()

    for i in (MAX_EXITS - 1, MAX_EXITS):
        stream.add(exit_event(100 + i, START + i), at=START + 10 * MS)

    assert stream.events() == [("oom_exit", 100 + MAX_EXITS)]


def test_attached_contexts_leave_no_copy_that_displaces_others():
    stream = Stream().add(context_of(1), at=START)
    for pid in range(100, 100 + MAX_CONTEXTS):
        stream.add(context_of(pid), signalled(pid), at=START + MS)
        stream.add(signalled(1000 + pid), context_of(1000 + pid), at=START + MS)
    stream.kills.clear()

    assert stream.add(signalled(1), at=START + 2 * MS).verdicts() == [(1, "killed")]
