# SPDX-License-Identifier: Apache-2.0
"""Slow facts: their budget, and whose turn it is. No thread runs: the test says when a step ends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from support.clock import FakeClock
from support.probe_events import kill

from ooMtrace import record
from ooMtrace.enrich import Later
from ooMtrace.record import OomKill, OomNoKill
from ooMtrace.runtime.background import MAX_STUCK, Background, Task
from ooMtrace.runtime.fair_queue import FairQueue, Owner, owner_of
from ooMtrace.runtime.slow_facts import HOLD_NS, MAX_HELD, REST, STEP_NS, SlowFacts

ATTACKER, BYSTANDER = 1000, 1001
MS = 1_000_000


class FakeBackground(Background):
    """Steps that end when the test says so; stuck ones never do."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__("fake")
        self.clock = clock
        self.step_ns = MS
        self.stuck = False
        self.running: list[tuple[Task, int]] = []
        self.started = 0

    def start(self, function: Callable[[], None]) -> Task | None:
        self.running = [(task, due) for task, due in self.running if not task.done]
        if len(self.running) >= MAX_STUCK:
            return None
        self.started += 1
        task = Task(function, lambda: None)
        self.running.append((task, self.clock.monotonic + self.step_ns))
        return task

    def end_steps(self) -> None:
        for task, due in self.running:
            if due <= self.clock.monotonic and not self.stuck and not task.done:
                task.run()

    def wait(self, timeout_ms: int) -> None:
        for _ in range(max(1, timeout_ms)):
            self.clock.advance(0.001)
            self.end_steps()
            if any(task.done for task, _ in self.running):
                return


class Slow:
    """A slow enricher: adds an address, or says `missing`."""

    def __init__(self) -> None:
        self.looked_up: list[str] = []
        self.prepared: list[str] = []
        self.answers: list[Later] = []
        self.known = False

    def prepare(self, one: OomKill) -> None:
        self.prepared.append(one.id)

    def add_known(self, one: OomKill) -> OomKill | None:
        return replace(one, message="known") if self.known else None

    def look_up(self, one: OomKill) -> OomKill | Later:
        self.looked_up.append(one.id)
        return self.answers.pop(0) if self.answers else replace(one, message="found")

    def skip(self, one: OomKill) -> OomKill:
        return replace(one, message="missing")


class Bench:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.background = FakeBackground(self.clock)
        self.slow = Slow()
        self.facts = SlowFacts((self.slow,), self.background, self.clock)
        self.lines: dict[str, tuple[str, float]] = {}
        self.number = 0

    def offer(self, uid: int) -> str:
        self.number += 1
        id_ = f"{uid}-{self.number}"
        self.note(self.facts.offer(one(id_, uid)))
        return id_

    def note(self, lines: Iterator[OomKill]) -> None:
        for line in lines:
            assert line.id not in self.lines
            self.lines[line.id] = line.message, self.clock.monotonic / 1e9

    def run(self, seconds: float, backlog: FairQueue[OomKill | OomNoKill] | None = None) -> None:
        """Let time pass in milliseconds, as the event loop does."""
        for _ in range(int(seconds * 1000)):
            self.note(self.facts.ready(backlog))
            self.clock.advance(0.001)
            self.background.end_steps()
        self.note(self.facts.ready(backlog))


def one(id_: str, uid: int) -> OomKill:
    return kill(id=id_, process=record.Process(user=record.User(id=uid)), cgroup=record.Cgroup(path=f"/{uid}"))


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_the_exit_of_a_kill_that_is_held_follows_it_and_another_exit_has_its_own_turn(bench):
    held = bench.offer(ATTACKER)
    bench.note(bench.facts.offer(replace(one("exit", ATTACKER), exit=record.Exit(kill=held, after_us=5))))
    bench.slow.known = True
    bench.note(bench.facts.offer(replace(one("other", ATTACKER), exit=record.Exit(kill="written", after_us=5))))
    assert list(bench.lines) == ["other"]

    bench.run(0.1)

    assert list(bench.lines) == ["other", held, "exit"]


def test_in_a_storm_of_one_user_another_still_has_his_facts(bench):
    bench.background.step_ns = 5 * MS
    bystanders = []
    for number in range(1000):
        bench.offer(ATTACKER)
        if number % 50 == 0:
            bystanders.append(bench.offer(BYSTANDER))
        bench.run(0.001)
    bench.run(1)

    assert [bench.lines[id_][0] for id_ in bystanders] == ["found"] * len(bystanders)
    storm = Counter(message for id_, (message, _) in bench.lines.items() if id_ not in bystanders)
    assert storm.total() == 1000
    assert storm["missing"] > 500


def test_no_line_is_held_longer_than_its_budget(bench):
    bench.background.stuck = True
    ids = [bench.offer(ATTACKER) for _ in range(3)]
    began = bench.clock.monotonic / 1e9
    bench.run(1)

    assert {bench.lines[id_][0] for id_ in ids} == {"missing"}
    assert max(bench.lines[id_][1] for id_ in ids) - began <= HOLD_NS / 1e9 + 0.002


def test_a_stuck_step_does_not_keep_others_from_their_facts(bench):
    bench.background.stuck = True
    stuck = bench.offer(ATTACKER)
    bench.run(STEP_NS / 1e9 / 2)
    other = bench.offer(BYSTANDER)
    hung = bench.background.running.pop()
    bench.background.stuck = False
    bench.run(1)

    assert (bench.lines[stuck][0], bench.lines[other][0]) == ("missing", "found")
    assert hung[0].done is False


def test_when_too_many_steps_are_stuck_lines_are_no_longer_held(bench):
    bench.background.stuck = True
    for _ in range(MAX_STUCK):
        bench.offer(ATTACKER)
        bench.run(HOLD_NS / 1e9)
    bench.offer(BYSTANDER)
    bench.run(0.001)

    assert len(bench.lines) == MAX_STUCK + 1
    assert len(bench.facts) == 0
    assert bench.background.started == MAX_STUCK


def test_a_step_that_ends_after_the_budget_changes_nothing(bench):
    bench.background.step_ns = 2 * HOLD_NS
    id_ = bench.offer(ATTACKER)
    bench.run(2)

    assert bench.lines[id_][0] == "missing"
    assert bench.slow.looked_up == [id_]


def test_a_line_whose_look_up_has_failed_is_not_held(bench):
    def fail(_):
        raise LookupError("failed")

    bench.slow.look_up = fail
    id_ = bench.offer(ATTACKER)
    bench.note(bench.facts.ready())
    bench.clock.advance(0.001)
    with pytest.raises(LookupError, match="failed"):
        bench.background.end_steps()
    bench.note(bench.facts.ready())

    assert bench.lines[id_][0] == "missing"
    assert bench.background.started == 1


def backlog_of(uid: int) -> FairQueue[OomKill | OomNoKill]:
    queue: FairQueue[OomKill | OomNoKill] = FairQueue(99)
    waiting = one("waiting", uid)
    assert not list(queue.push(waiting, owner_of(waiting)))
    return queue


def test_while_records_of_a_user_wait_nothing_is_looked_up_for_him(bench):
    backlog = backlog_of(ATTACKER)
    storm, bystander = bench.offer(ATTACKER), bench.offer(BYSTANDER)
    bench.run(0.3, backlog)

    assert bench.slow.looked_up == [bystander]
    backlog.pop()
    bench.run(0.01, backlog)
    assert bench.lines[storm][0] == "found"


def test_while_records_wait_steps_take_no_more_than_their_share_of_the_time(bench):
    bench.background.step_ns = 5 * MS
    backlog = backlog_of(ATTACKER)
    for _ in range(200):
        bench.offer(BYSTANDER)
    bench.run(0.4, backlog)

    assert 0 < bench.background.started <= 400 / (5 * (1 + REST)) + 1


def test_a_line_that_needs_no_look_up_is_not_held(bench):
    bench.slow.known = True
    id_ = bench.offer(ATTACKER)

    assert bench.lines[id_][0] == "known"
    assert bench.background.started == 0


def test_a_line_asks_again_when_it_was_told_to(bench):
    bench.slow.answers = [Later(bench.clock.monotonic + 200 * MS)]
    id_ = bench.offer(ATTACKER)
    began = bench.clock.monotonic
    bench.run(0.1)
    assert bench.slow.looked_up == [id_]
    assert bench.facts.next_due() == began + 200 * MS
    bench.run(0.15)

    assert bench.slow.looked_up == [id_, id_]
    assert bench.lines[id_][0] == "found"


def test_a_line_is_not_held_for_an_answer_that_comes_too_late(bench):
    bench.slow.answers = [Later(bench.clock.monotonic + HOLD_NS)]
    id_ = bench.offer(ATTACKER)
    bench.run(0.01)

    assert bench.lines[id_][0] == "missing"


def test_the_number_of_lines_held_is_limited_and_the_longest_backlog_gives_way(bench):
    bench.background.stuck = True
    bystander = bench.offer(BYSTANDER)
    for _ in range(MAX_HELD + 50):
        bench.offer(ATTACKER)

    assert len(bench.facts) == MAX_HELD
    assert bystander not in bench.lines
    assert {message for message, _ in bench.lines.values()} == {"missing"}


def test_a_line_with_the_id_of_one_that_is_held_is_not_held(bench):
    assert list(bench.facts.offer(one("1", ATTACKER))) == []

    assert [line.message for line in bench.facts.offer(one("1", ATTACKER))] == ["missing"]
    assert len(bench.facts) == 1


def test_an_exit_follows_its_kill(bench):
    id_ = bench.offer(ATTACKER)
    exited = replace(one("exit", ATTACKER), event="oom_exit", exit=record.Exit(kill=id_, after_us=1))
    assert list(bench.facts.offer(exited)) == []
    bench.run(0.1)

    assert list(bench.lines) == [id_, "exit"]


def test_several_enrichers_add_their_facts_one_after_the_other(bench):
    second = Slow()
    second.look_up = lambda one: replace(one, message=f"{one.message}, too")  # type: ignore[method-assign]
    bench.facts = SlowFacts((bench.slow, second), bench.background, bench.clock)
    id_ = bench.offer(ATTACKER)
    bench.run(0.1)

    assert bench.lines[id_][0] == "found, too"
    assert bench.background.started == 2


def test_without_enrichers_nothing_is_held_and_nothing_is_due():
    clock = FakeClock()
    facts = SlowFacts((), FakeBackground(clock), clock)

    assert [line.id for line in facts.offer(one("1", 1))] == ["1"]
    assert (facts.next_due(), facts.fds(), len(facts)) == (None, [], 0)


def test_while_nothing_is_held_nothing_is_due(bench):
    assert bench.facts.next_due() is None
    bench.offer(ATTACKER)
    assert bench.facts.next_due() is not None
    bench.run(0.1)

    assert bench.facts.next_due() is None


def test_while_a_step_runs_nothing_is_due_before_it_may_be_stuck(bench):
    bench.background.stuck = True
    bench.offer(ATTACKER)
    bench.offer(BYSTANDER)
    bench.note(bench.facts.ready())

    assert bench.facts.next_due() == bench.clock.monotonic + STEP_NS


def test_at_the_end_every_line_comes_within_its_budget(bench):
    ids = [bench.offer(uid) for uid in (ATTACKER, BYSTANDER, ATTACKER)]
    bench.note(bench.facts.drain())
    assert {bench.lines[id_][0] for id_ in ids} == {"found"}

    bench.background.stuck = True
    ids, began = [bench.offer(ATTACKER) for _ in range(5)], bench.clock.monotonic
    bench.note(bench.facts.drain())
    assert {bench.lines[id_][0] for id_ in ids} == {"missing"}
    assert bench.clock.monotonic - began <= HOLD_NS + 2 * MS


def test_what_is_prepared_is_passed_on(bench):
    bench.facts.prepare(one("1", 1))

    assert bench.slow.prepared == ["1"]
    assert bench.facts.skip(one("1", 1)).message == "missing"


def test_owners_of_equal_kills_are_equal():
    assert owner_of(one("1", 1)) == owner_of(one("2", 1)) == Owner(1, ("", "1"))
