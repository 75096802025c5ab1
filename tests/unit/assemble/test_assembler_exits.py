# SPDX-License-Identifier: Apache-2.0
"""The exits of victims (--lifecycle)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.assembler_stream import AT_EXEC, AT_KILL, GROUP, MS, START, Stream, context_of, signalled, signalled_member
from support.probe_events import NOW, exit_event

from ooMtrace import record


def test_an_exit_after_the_line_is_a_separate_line():
    stream = Stream(lifecycle=True).add(signalled(), context_of(), exit_event(signalled_at=START), at=START + 10 * MS)
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


def test_an_exit_before_the_line_is_held_until_the_line_is_emitted():
    stream = Stream(lifecycle=True).add(signalled(), exit_event(signalled_at=START), at=START + 10 * MS)

    assert (stream.kills, stream.next_due()) == ([], START + 260 * MS)
    assert stream.advance(START + 260 * MS).events() == [("oom_kill", 100), ("oom_exit", 100)]
    assert stream.kills[1].observed == NOW.from_monotonic(NOW.monotonic)


def test_an_exit_that_arrives_before_the_kill_is_not_lost():
    stream = Stream(lifecycle=True).add(exit_event(signalled_at=START), context_of(), signalled(), at=START + 10 * MS)

    assert stream.events() == [("oom_kill", 100), ("oom_exit", 100)]


def test_the_exit_line_includes_a_context_that_was_too_late_for_the_kill():
    stream = Stream(lifecycle=True).add(signalled(), at=START).advance(START + 251 * MS)
    stream.add(context_of(), exit_event(signalled_at=START, after=900 * MS), at=START + 901 * MS)

    assert stream.events() == [("oom_kill", 100), ("oom_exit", 100)]
    assert stream.args() == [AT_EXEC, AT_KILL]
    assert "process.command_args" in stream.kills[0].derived
    assert "process.command_args" not in stream.kills[1].derived
    assert stream.kills[1].exit.after_us == 900_000
    assert stream.kills[1].message == "worker (pid 100) is gone, 900.0 ms after the OOM killer's signal"


@pytest.mark.parametrize("other", [exit_event(101, START), exit_event(100, START + 1)])
def test_the_exit_of_another_process_or_signal_is_ignored(other):
    stream = Stream(lifecycle=True).add(other, signalled(), context_of(), other, at=START + 10 * MS)

    assert stream.advance().events() == [("oom_kill", 100)]


def test_an_exit_is_emitted_once():
    end = exit_event(signalled_at=START)
    stream = Stream(lifecycle=True).add(signalled(), context_of(), end, end, at=START + 10 * MS).advance()

    assert stream.events() == [("oom_kill", 100), ("oom_exit", 100)]


def test_every_group_member_has_its_own_exit():
    stream = Stream(lifecycle=True).add(
        *(
            signalled(100, START, memcg=GROUP),
            signalled_member(101, START + MS),
            context_of(),
            context_of(101, START + MS),
        ),
        *(exit_event(101, START + MS), exit_event(100, START)),
        at=START + 10 * MS,
    )

    assert stream.advance().events() == [("oom_kill", 100), ("oom_exit", 100), ("oom_kill", 101), ("oom_exit", 101)]
    assert len(set(stream.incidents())) == 1
    assert stream.group_sizes() == [2, 2, 2, 2]


def test_without_lifecycle_no_exit_is_emitted():
    stream = Stream().add(signalled(), context_of(), exit_event(signalled_at=START), at=START + 10 * MS).advance()

    assert stream.events() == [("oom_kill", 100)]


def test_an_unknown_peak_is_absent():
    stream = Stream(lifecycle=True).add(
        signalled(), context_of(), exit_event(signalled_at=START, maxrss=None), at=START + 10 * MS
    )

    assert stream.kills[1].exit == record.Exit(kill=stream.kills[0].id, after_us=7654, peak_rss=None)
