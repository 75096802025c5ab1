# SPDX-License-Identifier: Apache-2.0
"""How contexts are attached to kills: contexts arrive before the kill, after it, late or never."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.assembler_stream import (
    AT_EXEC,
    AT_KILL,
    GROUP,
    MS,
    OTHER,
    START,
    Stream,
    context_of,
    signalled,
    signalled_member,
    signalled_sharer,
)
from support.probe_events import NOW, decision, descriptors, exit_event, tcp, victim_event

from ooMtrace import record
from ooMtrace.assemble.assembler import CONTEXT_TIMEOUT_NS
from ooMtrace.assemble.event_store import MAX_CONTEXTS
from ooMtrace.assemble.incident import MAX_INCIDENTS
from ooMtrace.events import Kind, Task


def test_a_line_is_held_until_its_context_arrives():
    stream = Stream().add(signalled(), at=START + MS)

    assert stream.kills == []
    assert stream.add(context_of(), at=START + 2 * MS).verdicts() == [(100, "killed")]
    assert stream.next_due() is None
    assert stream.kills[0].observed == NOW.from_monotonic(NOW.monotonic)
    assert stream.kills[0].time == replace(NOW, monotonic=START + MS).from_monotonic(START + 1000)


def test_a_context_that_arrives_first_is_attached_immediately():
    stream = Stream().add(context_of(), at=START + MS)

    assert (stream.kills, stream.next_due()) == ([], None)
    assert stream.add(signalled(), at=START + MS).verdicts() == [(100, "killed")]
    assert (stream.args(), stream.next_due()) == ([AT_KILL], None)


def test_without_context_a_line_is_emitted_250_ms_after_the_kill_was_read():
    read_at = START + 30 * MS
    stream = Stream().add(signalled(), at=read_at)

    assert stream.next_due() == read_at + CONTEXT_TIMEOUT_NS == read_at + 250 * MS
    assert stream.advance(read_at + 250 * MS - 1).kills == []
    assert stream.advance(read_at + 250 * MS).verdicts() == [(100, "killed")]
    (kill,) = stream.kills
    assert kill.process.command_args == AT_EXEC
    assert kill.derived == ("oom.scope", "oom.limit_bytes", "oom.memcg", "oom.points", "process.command_args")
    assert list(record.missing_facts(kill))[3:] == [
        *("process.executable", "process.working_directory", "process.open_files", "process.connections")
    ]
    assert stream.next_due() is None


def test_a_context_that_arrives_after_the_line_is_ignored():
    stream = Stream().add(signalled(), at=START + MS).advance(START + 300 * MS).add(context_of(), at=START + 301 * MS)

    assert (stream.verdicts(), stream.args()) == ([(100, "killed")], [AT_EXEC])
    assert stream.advance().verdicts() == [(100, "killed")]


def test_a_later_event_emits_lines_that_are_due():
    stream = Stream().add(signalled(), at=START + MS).add(signalled(200, START + 400 * MS), at=START + 401 * MS)

    assert (stream.verdicts(), stream.next_due()) == ([(100, "killed")], START + 651 * MS)


def test_the_context_timeout_counts_from_when_a_kill_was_read():
    late = START + 2000 * MS
    stream = Stream().add(signalled(), at=late)

    assert (stream.kills, stream.next_due()) == ([], late + 250 * MS)
    assert (stream.add(context_of(), at=late + 100 * MS).verdicts(), stream.args()) == ([(100, "killed")], [AT_KILL])


def test_a_kill_without_signal_time_is_not_held():
    stream = Stream("minimal").add(victim_event(100), at=START)

    assert (stream.verdicts(), stream.next_due()) == ([(100, "killed")], None)


def test_a_dying_process_is_not_held():
    stream = Stream(all=True).add(signalled(kind=Kind.DYING, signalled_at=START), at=START + MS)

    assert (len(stream.kills), stream.next_due()) == (1, None)


@pytest.mark.parametrize(
    "other", [context_of(101), context_of(signalled_at=START + 1), context_of(signalled_at=START - 1)]
)
def test_a_context_of_another_process_or_signal_is_not_attached(other):
    stream = Stream().add(other, signalled(), other, at=START + MS)

    assert stream.kills == []
    assert stream.advance().args() == [AT_EXEC]


def test_two_kills_of_one_pid_have_separate_contexts():
    later = START + 60_000 * MS
    stream = Stream().add(context_of(), context_of(signalled_at=later, arguments=b"new\0", arguments_size=4), at=START)
    stream.add(signalled(), at=START + MS).add(signalled(signalled_at=later), at=later + MS)

    assert stream.args() == [AT_KILL, ("new",)]
    assert len(set(stream.incidents())) == 2


def test_next_due_is_the_earliest_deadline():
    stream = Stream().add(signalled(), at=START + MS)
    stream.add(signalled(200, START + 40 * MS, trigger=OTHER), at=START + 41 * MS)

    assert stream.next_due() == START + 251 * MS
    stream.add(context_of(), at=START + 42 * MS)
    assert (stream.verdicts(), stream.next_due()) == ([(100, "killed")], START + 291 * MS)
    stream.add(context_of(200, START + 40 * MS), at=START + 43 * MS)
    assert (stream.verdicts()[1:], stream.next_due()) == ([(200, "killed")], None)


def test_a_group_is_held_for_its_members_and_then_each_line_for_its_context():
    first, second, third = (START + i * MS for i in range(3))
    stream = Stream().add(
        signalled(100, first, memcg=GROUP),
        signalled_member(101, second),
        context_of(100, first),
        signalled_member(102, third),
        at=third + MS,
    )

    assert (stream.kills, stream.next_due()) == ([], third + 101 * MS)
    stream.advance(third + 101 * MS)
    assert stream.verdicts() == [(100, "killed")]
    assert stream.next_due() == third + MS + CONTEXT_TIMEOUT_NS
    stream.add(context_of(102, third), at=third + 120 * MS)
    assert stream.verdicts()[1:] == [(102, "group_member")]
    stream.advance(third + MS + CONTEXT_TIMEOUT_NS)
    assert stream.verdicts()[2:] == [(101, "group_member")]
    assert stream.args() == [AT_KILL, AT_KILL, AT_EXEC]
    assert stream.group_sizes() == [3, 3, 3]
    assert len(set(stream.incidents())) == 1
    assert stream.next_due() is None


def test_a_context_does_not_shorten_the_group_timeout():
    stream = Stream().add(signalled(memcg=GROUP), context_of(), at=START + MS)

    assert (stream.kills, stream.next_due()) == ([], START + 101 * MS)
    assert stream.advance(START + 101 * MS).group_sizes() == [1]


def test_a_repeat_kill_keeps_the_context_of_the_first_signal():
    repeat_kill = signalled_member(100, START + MS)
    stream = (
        Stream().add(signalled(memcg=GROUP), repeat_kill, context_of(), at=START + 2 * MS).advance(START + 120 * MS)
    )

    assert (stream.verdicts(), stream.args()) == ([(100, "killed")], [AT_KILL])


def test_a_sharer_has_its_own_context():
    its_own = context_of(200, START + MS, working_directory=("elsewhere",))
    stream = Stream().add(signalled(), signalled_sharer(200, START + MS), its_own, context_of(), at=START + 2 * MS)

    assert stream.verdicts() == [(100, "killed")]
    assert stream.next_due() == START + 22 * MS
    stream.advance(START + 22 * MS)
    assert stream.verdicts() == [(100, "killed"), (200, "shared_mm")]
    assert [kill.process.working_directory for kill in stream.kills] == ["/srv", "/elsewhere"]


def test_a_sharer_is_held_for_its_context_like_any_victim():
    stream = Stream().add(context_of(), signalled(), signalled_sharer(200, START + MS), at=START + 2 * MS)

    assert stream.next_due() == START + 2 * MS + CONTEXT_TIMEOUT_NS
    assert stream.advance().verdicts() == [(100, "killed"), (200, "shared_mm")]


def test_a_context_is_attached_to_a_kill_with_a_decision():
    decision_ = decision(ktime=START - MS)
    stream = Stream("full").add(signalled(decision=decision_), context_of(), at=START + MS)

    assert (stream.args(), stream.kills[0].derived) == ([AT_KILL], ())


def test_the_facts_of_the_context_are_in_the_record():
    files = descriptors(kinds={12: 40}, tcp=40, sockets=(tcp(),) * 32, all=False)
    context = context_of(descriptors=files, environment=b"QUEUE=mailers\0OTHER=x\0", environment_size=23)
    (kill,) = Stream(env=("QU*",)).add(signalled(), context, at=START + MS).kills

    assert kill.process.executable == record.Executable(path="/usr/bin/worker")
    assert kill.process.working_directory == "/srv"
    assert kill.process.environment == {"QUEUE": "mailers"}
    assert kill.process.open_files.incomplete is True
    assert len(kill.process.connections) == 32
    assert kill.truncated == ("process.connections", "process.environment")
    assert kill.derived == ("oom.scope", "oom.limit_bytes", "oom.memcg", "oom.points")


def test_without_env_no_variable_is_included():
    context = context_of(environment=b"QUEUE=mailers\0", environment_size=14)

    assert Stream().add(signalled(), context, at=START + MS).kills[0].process.environment == {}


def test_held_lines_are_bounded():
    stream = Stream()
    for i in range(1000):
        stream.add(signalled(1000 + i, START + i, trigger=Task(i, i, i, "trigger")), at=START + i)

    assert len(stream.kills) == 1000 - MAX_INCIDENTS
    assert [kill.process.pid for kill in stream.kills[:2]] == [1000, 1001]
    assert len(stream.advance().kills) == 1000


def test_a_sharer_that_becomes_a_member_keeps_its_context_and_exit():
    """Context and exit carry the time of the first signal, the member's mark that of the second."""
    second = START + 5 * MS
    stream = Stream(lifecycle=True).add(signalled(100, memcg=GROUP), at=START + MS)
    stream.add(context_of(100), at=START + MS).add(signalled_sharer(200, START + MS, memcg=GROUP), at=START + 2 * MS)
    stream.add(context_of(200, START + MS), at=START + 3 * MS).add(signalled_member(200, second), at=second + MS)
    stream.advance(second + 200 * MS).add(exit_event(200, START + MS), at=second + 210 * MS)

    assert stream.verdicts()[:2] == [(100, "killed"), (200, "group_member")]
    assert stream.args()[:2] == [AT_KILL, AT_KILL]
    assert stream.events()[2:] == [("oom_exit", 200)]


def test_a_large_group_loses_no_context():
    many = 3 * MAX_CONTEXTS
    stream = Stream().add(signalled(1, memcg=GROUP), at=START + MS).add(context_of(1), at=START + MS)
    for pid in range(2, many + 1):
        stream.add(signalled_member(pid, START + pid), at=START + MS).add(context_of(pid, START + pid), at=START + MS)
    stream.advance(START + 500 * MS)

    assert len(stream.kills) == many
    assert set(stream.args()) == {AT_KILL}
