# SPDX-License-Identifier: Apache-2.0
"""A kill of which the log has only the choice: it is reported once, and not if the kill's own line follows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ooMtrace.kmsg.formats import LogLine
from ooMtrace.kmsg.grammar import Summary
from ooMtrace.kmsg.open_report import MAX_GAP_BEFORE_KILL_NS, MAX_IDLE_LINES_AFTER_KILL
from ooMtrace.kmsg.report import Choice, Killed, Report
from ooMtrace.kmsg.task_table import parse_columns
from ooMtrace.kmsg.unconfirmed import MAX_UNCONFIRMED, UnconfirmedKills

T0 = 10_000_000_000
LINE = LogLine("oom-kill:", ktime=T0, boot_id="a", host="web")
MEMCG = "Memory cgroup out of memory"
COLUMNS = "[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name"


def summary(pid: int = 9, uid: int = 7, memcg: str | None = "/a") -> Summary:
    return Summary("CONSTRAINT_MEMCG" if memcg else "CONSTRAINT_NONE", pid, uid, memcg, memcg, "a")


def named(pid: int = 9, **more: object) -> Report:
    """Return a report that names a victim in its summary, and has no kill."""
    report = Report(LINE)
    report.selection.summary, report.selection.line = summary(pid, **more), LINE  # type: ignore[arg-type]
    return report


def chosen(pid: int = 9) -> Report:
    """Return a report of before 5.1."""
    report = Report(LINE)
    report.selection.choice, report.selection.line = Choice(pid, "a", MEMCG), LINE
    return report


def kill(pid: int, reason: str | None = MEMCG, uid: int | None = 7, **more: object) -> tuple[Killed, Report]:
    """Return a kill and the report that it began."""
    line = replace(LINE, ktime=T0 + 1, **more)  # type: ignore[arg-type]
    killed = Killed(line, pid, "a", reason, {}, uid, None)
    return killed, Report(line, kills=[killed])


@pytest.fixture
def kept() -> UnconfirmedKills:
    return UnconfirmedKills()


def add(kept: UnconfirmedKills, report: Report) -> Report:
    assert list(kept.add(report)) == []
    return report


def test_at_the_end_a_victim_that_was_only_named_is_reported(kept):
    report = add(kept, named())
    assert len(kept) == 1

    assert list(kept.drain()) == [report]
    assert len(kept) == 0
    (victim,) = report.kills
    assert (victim.line, victim.pid, victim.comm, victim.uid, victim.reason) == (LINE, 9, "a", 7, None)
    assert victim.unconfirmed


def test_a_choice_of_before_5_1_states_the_reason_and_no_user(kept):
    (victim,) = add(kept, chosen()).kills

    assert (victim.pid, victim.comm, victim.uid, victim.reason) == (9, "a", None, MEMCG)
    assert victim.unconfirmed


def test_a_report_that_names_nobody_is_dropped(kept):
    add(kept, Report(LINE))

    assert len(kept) == 0


def test_no_more_than_a_number_are_kept_and_the_oldest_is_reported_first(kept):
    reports = [named(pid) for pid in range(1, MAX_UNCONFIRMED + 2)]
    assert [found for report in reports[:-1] for found in kept.add(report)] == []

    assert list(kept.add(reports[-1])) == reports[:1]
    assert list(kept.drain()) == reports[1:]


@pytest.mark.parametrize("report", [named(9), chosen(9)])
def test_the_kill_with_the_pid_of_the_choice_confirms_it(kept, report):
    add(kept, named(8))
    add(kept, report)
    add(kept, named(7))
    kept.confirm(*kill(9))

    assert [found.kills[0].pid for found in kept.drain()] == [8, 7]


def test_of_two_choices_of_one_process_the_first_is_confirmed(kept):
    first, second = add(kept, named(9)), add(kept, named(9))
    kept.confirm(*kill(9))

    assert first is not second
    assert [found is second for found in kept.drain()] == [True]


def test_a_thread_of_the_chosen_process_confirms_it(kept):
    report = named(9)
    report.table = parse_columns(COLUMNS)
    assert report.table is not None
    assert report.table.add("[     12]     7     9     1000       10     8192        0             0 a")
    add(kept, report)
    add(kept, named(8))
    killed, of = kill(12)
    of.selection.line = killed.line  # so that it is not any kill of that kind
    kept.confirm(killed, of)

    assert [found.kills[0].pid for found in kept.drain()] == [8]


@pytest.mark.parametrize(
    "more",
    [{"boot_id": "b"}, {"host": "db"}, {"reason": "Out of memory"}, {"uid": 8}],
)
def test_a_kill_that_differs_in_what_both_state_is_another(kept, more):
    add(kept, named(9))
    kept.confirm(*kill(12, **more))

    assert len(kept) == 1


@pytest.mark.parametrize(("later", "left"), [(MAX_GAP_BEFORE_KILL_NS, 0), (MAX_GAP_BEFORE_KILL_NS + 1, 1), (-1, 0)])
def test_a_kill_that_comes_too_late_is_another(kept, later, left):
    add(kept, named(9))
    killed, report = kill(9)
    kept.confirm(replace(killed, line=replace(killed.line, ktime=T0 + later)), report)

    assert len(kept) == left


@pytest.mark.parametrize("uid", [7, None])
def test_without_the_pid_of_the_choice_a_kill_of_the_same_user_and_kind_confirms_the_oldest(kept, uid):
    add(kept, named(8, memcg=None))
    add(kept, named(9))
    add(kept, named(10))
    kept.confirm(*kill(12, uid=uid))

    assert [found.kills[0].pid for found in kept.drain()] == [8, 10]


def test_a_kill_whose_report_names_a_victim_of_its_own_confirms_no_other(kept):
    add(kept, named(9))
    killed, report = kill(12)
    report.selection.line = killed.line
    kept.confirm(killed, report)

    assert len(kept) == 1


def test_only_the_first_kill_of_a_report_confirms_a_choice_with_another_pid(kept):
    add(kept, named(9))
    first, report = kill(12)
    second, _ = kill(13)
    report.kills.append(second)
    kept.confirm(second, report)
    assert len(kept) == 1

    kept.confirm(first, report)
    assert len(kept) == 0


@pytest.mark.parametrize(("reason", "left"), [(None, 0), (MEMCG, 1)])
def test_before_5_1_the_kill_itself_states_no_reason(kept, reason, left):
    add(kept, chosen(9))
    kept.confirm(*kill(12, reason=reason))

    assert len(kept) == left


def test_a_choice_is_reported_when_its_kill_can_no_longer_follow(kept):
    report = add(kept, named(9))
    for _ in range(MAX_IDLE_LINES_AFTER_KILL):
        assert list(kept.expire()) == []

    assert list(kept.expire()) == [report]
    assert len(kept) == 0


def test_a_choice_expires_by_the_lines_since_it_was_added(kept):
    for _ in range(5):
        assert list(kept.expire()) == []
    first = add(kept, named(9))
    assert list(kept.expire()) == []
    second = add(kept, named(8))
    for _ in range(MAX_IDLE_LINES_AFTER_KILL - 1):
        assert list(kept.expire()) == []

    assert list(kept.expire()) == [first]
    assert list(kept.expire()) == [second]
