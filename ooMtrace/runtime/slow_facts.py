# SPDX-License-Identifier: Apache-2.0
"""Facts that may take long: looked up beside the event loop, within a budget, and in turns between users."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush

from ooMtrace.enrich import Later, SlowEnricher
from ooMtrace.kernel.clock import Clock
from ooMtrace.record import OomKill, OomNoKill
from ooMtrace.runtime.background import Background, Task
from ooMtrace.runtime.fair_queue import FairQueue, Owner, owner_of

HOLD_NS = 500_000_000
"""A line waits this long for its slow facts; then they are missing."""

STEP_NS = 100_000_000
"""A step that takes longer no longer keeps others from starting: it may be stuck."""

MAX_HELD = 256
"""Lines that wait at the same time."""

REST = 3
"""While kills wait for their turn, a step is followed by a pause this many times as long: it takes a CPU from them."""


@dataclass(slots=True)
class _Held:
    """A line that waits: for which enrichers, until when, and which lines must follow it."""

    kill: OomKill
    owner: Owner
    pending: list[SlowEnricher]
    due: int
    followers: list[OomKill] = field(default_factory=list)
    found: OomKill | Later | None = None
    released: bool = False


@dataclass(slots=True)
class _Step:
    held: _Held
    task: Task
    began: int


class SlowFacts:
    """Holds lines until their slow facts are known or their time is over.

    Args:
        enrichers: Applied in this order.
        background: Runs the steps: one enricher for one line each.
        clock: What times are measured with.
    """

    def __init__(self, enrichers: tuple[SlowEnricher, ...], background: Background, clock: Clock = time) -> None:
        self._enrichers = enrichers
        self._background = background
        self._clock = clock
        self._held: OrderedDict[str, _Held] = OrderedDict()  # all are held equally long: the first is due first
        self._queue: FairQueue[_Held] = FairQueue(MAX_HELD)
        self._deferred: list[tuple[int, int, _Held]] = []
        self._deferrals = 0
        self._steps: list[_Step] = []
        self._resting_until = 0

    def __len__(self) -> int:
        """Return how many lines are held."""
        return len(self._held)

    def fds(self) -> list[int]:
        """Return the file descriptors that become readable when a line may be complete."""
        return self._background.fds()

    def next_due(self) -> int | None:
        """Return when `ready` has something to do (CLOCK_MONOTONIC ns); None if no line is held."""
        if not self._held:
            return None
        times = [next(iter(self._held.values())).due, *(at for at, *_ in self._deferred[:1])]
        if len(self._queue):
            times.append(max((step.began + STEP_NS for step in self._steps), default=0))
        return min(times)

    def prepare(self, kill: OomKill) -> None:
        """Take what will be gone once the victim has exited."""
        for enricher in self._enrichers:
            enricher.prepare(kill)

    def skip(self, kill: OomKill) -> OomKill:
        """Return a kill without its slow facts."""
        return self._skipped(kill, self._enrichers)

    def offer(self, kill: OomKill) -> Iterator[OomKill]:
        """Take a kill; yield it at once if it waits for nothing, and a line that has to make room for it."""
        if kill.exit is not None and kill.exit.kill in self._held:  # an exit comes after its kill
            self._held[kill.exit.kill].followers.append(kill)
            return
        pending = []
        for enricher in self._enrichers:
            complete = enricher.add_known(kill)
            if complete is None:
                pending.append(enricher)
            else:
                kill = complete
        if not pending or kill.id in self._held:
            yield self._skipped(kill, pending)
            return
        held = _Held(kill, owner_of(kill), pending, self._clock.monotonic_ns() + HOLD_NS)
        self._held[kill.id] = held
        yield from self._enqueue(held)

    def ready(self, backlog: FairQueue[OomKill | OomNoKill] | None = None) -> Iterator[OomKill]:
        """Yield the lines that are complete or overdue, and start the next step.

        Args:
            backlog: Kills that wait for their turn. Nothing is looked up for a line whose owner has some there.
        """
        self._background.clear()
        now = self._clock.monotonic_ns()
        for step in [step for step in self._steps if step.task.done]:
            yield from self._end_step(step, now)
        while self._held and (first := next(iter(self._held.values()))).due <= now:
            yield from self._release(first)
        while self._deferred and self._deferred[0][0] <= now:
            yield from self._enqueue(heappop(self._deferred)[2])
        yield from self._start_step(now, backlog)

    def drain(self) -> Iterator[OomKill]:
        """Yield all lines: each waits no longer than it would have."""
        while True:
            yield from self.ready()
            due = self.next_due()
            if due is None:
                return
            self._background.wait(max(0, -(-(due - self._clock.monotonic_ns()) // 1_000_000)))

    def close(self) -> None:
        """Release the thread's file."""
        self._background.close()

    def _start_step(self, now: int, backlog: FairQueue[OomKill | OomNoKill] | None) -> Iterator[OomKill]:
        if any(now - step.began < STEP_NS for step in self._steps) or (backlog and now < self._resting_until):
            return

        def is_refused(held: _Held) -> bool:
            return backlog is not None and backlog.has_backlog_of(held.owner)

        while (held := self._queue.pop(is_refused)) is not None:
            task = None if held.released else self._background.start(_look_up(held))
            if task:
                self._steps.append(_Step(held, task, now))
                return
            yield from self._release(held)  # overdue, or nothing can be started while so many are stuck

    def _end_step(self, step: _Step, now: int) -> Iterator[OomKill]:
        self._steps.remove(step)
        self._resting_until = now + REST * (now - step.began)
        held = step.held
        if held.released:
            return
        if isinstance(held.found, Later):
            yield from self._defer(held, held.found.at_ns)
            return
        if held.found is not None:  # None: the enricher has failed
            held.kill = held.found
            held.pending.pop(0)
        yield from self._enqueue(held) if held.found and held.pending else self._release(held)

    def _enqueue(self, held: _Held) -> Iterator[OomKill]:
        if not held.released:
            for discarded in self._queue.push(held, held.owner):
                yield from self._release(discarded)

    def _defer(self, held: _Held, at: int) -> Iterator[OomKill]:
        """Ask again at that time, or not at all if that is too late."""
        if at >= held.due:
            yield from self._release(held)
        else:
            self._deferrals += 1
            heappush(self._deferred, (at, self._deferrals, held))

    def _release(self, held: _Held) -> Iterator[OomKill]:
        """Yield a line with what is known, and what has to follow it."""
        if not held.released:
            held.released = True
            del self._held[held.kill.id]
            yield self._skipped(held.kill, held.pending)
            for follower in held.followers:
                yield from self.offer(follower)

    @staticmethod
    def _skipped(kill: OomKill, enrichers: tuple[SlowEnricher, ...] | list[SlowEnricher]) -> OomKill:
        for enricher in enrichers:
            kill = enricher.skip(kill)
        return kill


def _look_up(held: _Held) -> Callable[[], None]:
    kill, enricher = held.kill, held.pending[0]

    def task() -> None:
        held.found = enricher.look_up(kill)

    return task
