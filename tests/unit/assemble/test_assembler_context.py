# SPDX-License-Identifier: Apache-2.0
"""What a victim was doing comes after its kill or before it, late or never; and its end comes at some time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support.assembler_stream import GROUP, MS, Stream
from support.probe_events import MEMBER_STACK, NOW, context, decision, descriptors, gone, sighting, tcp

from ooMtrace import record
from ooMtrace.assemble.assembler import CONTEXT_WAIT_NS, CONTEXTS_KEPT, EXITS_KEPT
from ooMtrace.events import Kind, Task, VictimEvent

START = 4000 * MS
"""When the first is killed; the mark comes a microsecond after the signal."""


def killed(pid: int = 100, signalled_at: int = START, **changes: Any) -> VictimEvent:
    exec_args = (b"worker\0--at-exec\0", 17)
    return sighting(
        pid, **{"ktime": signalled_at + 1000, "signalled_at": signalled_at, "exec_args": exec_args, **changes}
    )


def member(pid: int, signalled_at: int, **changes: Any) -> VictimEvent:
    return killed(pid, signalled_at, stack=MEMBER_STACK, memcg=GROUP, **changes)


def sharer(pid: int, signalled_at: int, **changes: Any) -> VictimEvent:
    # nobody marks it: it is told of as the signal is sent
    return killed(pid, signalled_at, kind=Kind.SHARER, ktime=signalled_at, **changes)


def its(pid: int = 100, signalled_at: int = START, **changes: Any) -> Any:
    return context(pid, signalled_at, **changes)


def args(stream: Stream) -> list[tuple[str, ...] | None]:
    return [kill.process.command_args for kill in stream.kills]


AT_EXEC, THEN = ("worker", "--at-exec"), ("worker", "--queue", "mailers")


def test_a_line_waits_for_its_context_and_comes_with_it_at_once():
    stream = Stream().add(killed(), at=START + MS)

    assert stream.kills == []
    assert stream.add(its(), at=START + 2 * MS).said() == [(100, "killed")]
    assert stream.assembler.next_due() is None
    assert stream.kills[0].observed == NOW.from_monotonic(NOW.monotonic)
    assert stream.kills[0].time == replace(NOW, monotonic=START + MS).from_monotonic(START + 1000)


def test_a_context_that_is_there_first_holds_nothing_up():
    stream = Stream().add(its(), at=START + MS)

    assert (stream.kills, stream.assembler.next_due()) == ([], None)
    assert stream.add(killed(), at=START + MS).said() == [(100, "killed")]
    assert (args(stream), stream.assembler.next_due()) == ([THEN], None)


def test_a_line_comes_250_ms_after_the_kill_was_seen_and_says_what_is_old_and_what_is_missing():
    seen = START + 30 * MS
    stream = Stream().add(killed(), at=seen)

    assert stream.assembler.next_due() == seen + CONTEXT_WAIT_NS == seen + 250 * MS
    assert stream.wait(seen + 250 * MS - 1).kills == []
    assert stream.wait(seen + 250 * MS).said() == [(100, "killed")]
    (told,) = stream.kills
    assert told.process.command_args == AT_EXEC
    assert told.derived == ("oom.scope", "oom.limit_bytes", "oom.memcg", "oom.points", "process.command_args")
    assert list(record.missing_facts(told))[3:] == [
        *("process.executable", "process.working_directory", "process.open_files", "process.connections")
    ]
    assert stream.assembler.next_due() is None


def test_a_context_that_comes_after_the_line_changes_nothing():
    stream = Stream().add(killed(), at=START + MS).wait(START + 300 * MS).add(its(), at=START + 301 * MS)

    assert (stream.said(), args(stream)) == ([(100, "killed")], [AT_EXEC])
    assert stream.wait(1 << 63).said() == [(100, "killed")]


def test_a_record_that_comes_much_later_brings_out_what_is_due():
    stream = Stream().add(killed(), at=START + MS).add(killed(200, START + 400 * MS), at=START + 401 * MS)

    assert (stream.said(), stream.assembler.next_due()) == ([(100, "killed")], START + 651 * MS)


def test_a_sighting_that_is_read_late_waits_all_the_same_for_the_victim_is_late_too():
    late = START + 2000 * MS
    stream = Stream().add(killed(), at=late)

    assert (stream.kills, stream.assembler.next_due()) == ([], late + 250 * MS)
    assert (stream.add(its(), at=late + 100 * MS).said(), args(stream)) == ([(100, "killed")], [THEN])


def test_what_was_never_signalled_by_the_kernel_side_waits_for_nothing():
    stream = Stream("minimal").add(sighting(100), at=START)

    assert (stream.said(), stream.assembler.next_due()) == ([(100, "killed")], None)


def test_who_was_already_dying_waits_for_nothing():
    stream = Stream(all=True).add(killed(kind=Kind.DYING, signalled_at=START), at=START + MS)

    assert (len(stream.kills), stream.assembler.next_due()) == (1, None)


@pytest.mark.parametrize("stranger", [its(101), its(signalled_at=START + 1), its(signalled_at=START - 1)])
def test_a_context_of_somebody_else_or_of_another_time_is_not_taken(stranger):
    stream = Stream().add(stranger, killed(), stranger, at=START + MS)

    assert stream.kills == []
    assert args(stream.wait(1 << 63)) == [AT_EXEC]


def test_two_kills_of_one_number_have_a_context_each():
    later = START + 60_000 * MS
    stream = Stream().add(its(), its(signalled_at=later, arguments=b"new\0", arguments_size=4), at=START)
    stream.add(killed(), at=START + MS).add(killed(signalled_at=later), at=later + MS)

    assert args(stream) == [THEN, ("new",)]
    assert len(set(stream.incidents())) == 2


def test_the_next_due_is_that_of_the_first_that_waits():
    other = {"trigger": Task(500, 501, 1, "other")}
    stream = Stream().add(killed(), at=START + MS).add(killed(200, START + 40 * MS, **other), at=START + 41 * MS)

    assert stream.assembler.next_due() == START + 251 * MS
    stream.add(its(), at=START + 42 * MS)
    assert (stream.said(), stream.assembler.next_due()) == ([(100, "killed")], START + 291 * MS)
    stream.add(its(200, START + 40 * MS), at=START + 43 * MS)
    assert (stream.said()[1:], stream.assembler.next_due()) == ([(200, "killed")], None)


def test_a_group_waits_for_its_members_and_then_each_for_its_context():
    first, second, third = (START + i * MS for i in range(3))
    stream = Stream().add(
        killed(100, first, memcg=GROUP), member(101, second), its(100, first), member(102, third), at=third + MS
    )

    assert (stream.kills, stream.assembler.next_due()) == ([], third + 101 * MS)
    stream.wait(third + 101 * MS)
    assert stream.said() == [(100, "killed")]
    assert stream.assembler.next_due() == third + MS + CONTEXT_WAIT_NS
    stream.add(its(102, third), at=third + 120 * MS)
    assert stream.said()[1:] == [(102, "group_member")]
    stream.wait(third + MS + CONTEXT_WAIT_NS)
    assert stream.said()[2:] == [(101, "group_member")]
    assert args(stream) == [THEN, THEN, AT_EXEC]
    assert stream.sizes() == [3, 3, 3]
    assert len(set(stream.incidents())) == 1
    assert stream.assembler.next_due() is None


def test_a_context_does_not_shorten_the_wait_for_a_group():
    stream = Stream().add(killed(memcg=GROUP), its(), at=START + MS)

    assert (stream.kills, stream.assembler.next_due()) == ([], START + 101 * MS)
    assert stream.wait(START + 101 * MS).sizes() == [1]


def test_the_chosen_one_signalled_again_with_its_group_has_the_context_of_the_first_signal():
    again = member(100, START + MS)
    stream = Stream().add(killed(memcg=GROUP), again, its(), at=START + 2 * MS).wait(START + 120 * MS)

    assert (stream.said(), args(stream)) == ([(100, "killed")], [THEN])


def test_a_sharer_has_a_context_of_its_own():
    its_own = its(200, START + MS, working_directory=("elsewhere",))
    stream = Stream().add(killed(), sharer(200, START + MS), its_own, its(), at=START + 2 * MS)

    assert stream.said() == [(100, "killed")]
    assert stream.assembler.next_due() == START + 22 * MS
    stream.wait(START + 22 * MS)
    assert stream.said() == [(100, "killed"), (200, "shared_mm")]
    assert [kill.process.working_directory for kill in stream.kills] == ["/srv", "/elsewhere"]


def test_a_sharer_without_a_context_waits_as_long_as_any_other():
    stream = Stream().add(its(), killed(), sharer(200, START + MS), at=START + 2 * MS)

    assert stream.assembler.next_due() == START + 2 * MS + CONTEXT_WAIT_NS
    assert stream.wait(1 << 63).said() == [(100, "killed"), (200, "shared_mm")]


def test_with_a_decision_the_context_is_found_just_the_same():
    whole = decision(ktime=START - MS)
    stream = Stream("full").add(killed(decision=whole), its(), at=START + MS)

    assert (args(stream), stream.kills[0].derived) == ([THEN], ())


def test_what_the_context_tells_stands_in_the_line():
    files = descriptors(kinds={12: 40}, tcp=40, sockets=(tcp(),) * 32, all=False)
    one = its(descriptors=files, environment=b"QUEUE=mailers\0OTHER=x\0", environment_size=23)
    (told,) = Stream(env=("QU*",)).add(killed(), one, at=START + MS).kills

    assert told.process.executable == record.Executable(path="/usr/bin/worker")
    assert told.process.working_directory == "/srv"
    assert told.process.environment == {"QUEUE": "mailers"}
    assert told.process.open_files.incomplete is True
    assert len(told.process.connections) == 32
    assert told.truncated == ("process.connections", "process.environment")
    assert told.derived == ("oom.scope", "oom.limit_bytes", "oom.memcg", "oom.points")


def test_without_having_been_asked_no_variable_is_told():
    one = its(environment=b"QUEUE=mailers\0", environment_size=14)

    assert Stream().add(killed(), one, at=START + MS).kills[0].process.environment == {}


def test_contexts_are_bounded_and_the_oldest_is_forgotten():
    stream = Stream().add(*(its(pid) for pid in range(100, 100 + 3 * CONTEXTS_KEPT)), at=START)

    assert len(stream.assembler._contexts) == CONTEXTS_KEPT
    stream.add(killed(100 + 2 * CONTEXTS_KEPT - 1), killed(100 + 2 * CONTEXTS_KEPT), at=START + MS)
    assert stream.said() == [(100 + 2 * CONTEXTS_KEPT, "killed")]


def exits(stream: Stream) -> list[tuple[str, int | None]]:
    return [(kill.event, kill.process.pid) for kill in stream.kills]


def test_an_exit_after_the_line_is_a_line_of_its_own():
    stream = Stream(lifecycle=True).add(killed(), its(), gone(signalled_at=START), at=START + 10 * MS)
    first, last = stream.kills

    assert last == replace(
        first,
        event="oom_exit",
        severity="INFO",
        id="12345678-ee6b2be8-100-exit",
        time=replace(NOW, monotonic=START + 10 * MS).from_monotonic(START + 7_654_321),
        observed=NOW.from_monotonic(NOW.monotonic),
        message="worker (pid 100) is gone, 7.7 ms after the OOM killer's signal",
        exit=record.Exit(kill="12345678-ee6b2be8-100", after_us=7654, peak_rss=2400 * 4096),
    )
    assert first.exit is None
    assert first.id == last.exit.kill


def test_an_exit_before_the_line_waits_for_it():
    stream = Stream(lifecycle=True).add(killed(), gone(signalled_at=START), at=START + 10 * MS)

    assert (stream.kills, stream.assembler.next_due()) == ([], START + 260 * MS)
    assert exits(stream.wait(START + 260 * MS)) == [("oom_kill", 100), ("oom_exit", 100)]
    assert stream.kills[1].observed == NOW.from_monotonic(NOW.monotonic)


def test_an_exit_even_before_the_sighting_is_not_lost():
    stream = Stream(lifecycle=True).add(gone(signalled_at=START), its(), killed(), at=START + 10 * MS)

    assert exits(stream) == [("oom_kill", 100), ("oom_exit", 100)]


def test_what_came_too_late_for_the_line_is_in_that_of_the_exit():
    stream = Stream(lifecycle=True).add(killed(), at=START).wait(START + 251 * MS)
    stream.add(its(), gone(signalled_at=START, after=900 * MS), at=START + 901 * MS)

    assert exits(stream) == [("oom_kill", 100), ("oom_exit", 100)]
    assert args(stream) == [AT_EXEC, THEN]
    assert "process.command_args" in stream.kills[0].derived
    assert "process.command_args" not in stream.kills[1].derived
    assert stream.kills[1].exit.after_us == 900_000
    assert stream.kills[1].message == "worker (pid 100) is gone, 900.0 ms after the OOM killer's signal"


@pytest.mark.parametrize("stranger", [gone(101, START), gone(100, START + 1)])
def test_the_exit_of_somebody_else_or_of_another_time_is_ignored(stranger):
    stream = Stream(lifecycle=True).add(stranger, killed(), its(), stranger, at=START + 10 * MS)

    assert exits(stream.wait(1 << 63)) == [("oom_kill", 100)]


def test_an_exit_is_told_once():
    end = gone(signalled_at=START)
    stream = Stream(lifecycle=True).add(killed(), its(), end, end, at=START + 10 * MS).wait(1 << 63)

    assert exits(stream) == [("oom_kill", 100), ("oom_exit", 100)]


def test_every_member_of_a_group_has_its_exit():
    stream = Stream(lifecycle=True).add(
        *(killed(100, START, memcg=GROUP), member(101, START + MS), its(), its(101, START + MS)),
        *(gone(101, START + MS), gone(100, START)),
        at=START + 10 * MS,
    )

    assert exits(stream.wait(1 << 63)) == [("oom_kill", 100), ("oom_exit", 100), ("oom_kill", 101), ("oom_exit", 101)]
    assert len(set(stream.incidents())) == 1
    assert stream.sizes() == [2, 2, 2, 2]


def test_without_having_been_asked_nobodys_exit_is_told():
    stream = Stream().add(killed(), its(), gone(signalled_at=START), at=START + 10 * MS).wait(1 << 63)

    assert exits(stream) == [("oom_kill", 100)]
    assert stream.assembler._told == {}


def test_a_peak_that_could_not_be_read_is_not_told():
    stream = Stream(lifecycle=True).add(killed(), its(), gone(signalled_at=START, maxrss=None), at=START + 10 * MS)

    assert stream.kills[1].exit == record.Exit(kill=stream.kills[0].id, after_us=7654, peak_rss=None)


def test_what_is_kept_for_exits_is_bounded_and_the_oldest_is_forgotten():
    stream = Stream(lifecycle=True)
    stream.add(*(gone(pid, START) for pid in range(100, 100 + 2 * EXITS_KEPT)), at=START)
    assert len(stream.assembler._exits) == EXITS_KEPT == 512
    assert stream.kills == []

    stream = Stream(lifecycle=True)
    for i in range(2 * EXITS_KEPT):
        stream.add(its(100 + i, START + i), killed(100 + i, START + i), at=START + i)
    assert len(stream.assembler._told) == EXITS_KEPT
    assert len(stream.kills) == 2 * EXITS_KEPT
    stream.kills.clear()
    for i in (EXITS_KEPT - 1, EXITS_KEPT):
        stream.add(gone(100 + i, START + i), at=START + 10 * MS)
    assert exits(stream) == [("oom_exit", 100 + EXITS_KEPT)]


def test_lines_that_wait_are_bounded_however_many_triggers_there_are():
    stream = Stream()
    for i in range(1000):
        stream.add(killed(1000 + i, START + i, trigger=Task(i, i, i, "trigger")), at=START + i)

    assert len(stream.kills) == 1000 - 256
    assert [kill.process.pid for kill in stream.kills[:2]] == [1000, 1001]
    assert len(stream.wait(1 << 63).kills) == 1000


def test_a_sharer_that_is_marked_as_a_member_keeps_what_came_for_it():
    """The kernel side keeps the time of the first signal, the member's mark has that of the second."""
    again = START + 5 * MS
    stream = Stream(lifecycle=True).add(killed(100, memcg=GROUP), at=START + MS)
    stream.add(its(100), at=START + MS).add(sharer(200, START + MS, memcg=GROUP), at=START + 2 * MS)
    stream.add(its(200, START + MS), at=START + 3 * MS).add(member(200, again), at=again + MS)
    stream.wait(again + 200 * MS).add(gone(200, START + MS), at=again + 210 * MS)

    assert stream.said()[:2] == [(100, "killed"), (200, "group_member")]
    assert args(stream)[:2] == [THEN, THEN]
    assert [(kill.event, kill.process.pid) for kill in stream.kills[2:]] == [("oom_exit", 200)]


def test_a_large_group_loses_no_context():
    many = 3 * CONTEXTS_KEPT
    stream = Stream().add(killed(1, memcg=GROUP), at=START + MS).add(its(1), at=START + MS)
    for pid in range(2, many + 1):
        stream.add(member(pid, START + pid), at=START + MS).add(its(pid, START + pid), at=START + MS)
    stream.wait(START + 500 * MS)

    assert len(stream.kills) == many
    assert set(args(stream)) == {THEN}
