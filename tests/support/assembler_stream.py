# SPDX-License-Identifier: Apache-2.0
"""An assembler with a clock to turn, the records that it has emitted, and probe events for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ooMtrace import record
from ooMtrace.assemble.assembler import Assembler
from ooMtrace.events import Decision, Kind, LinePart, Task, VictimEvent
from ooMtrace.settings import Level
from support.probe_events import HOST, MEMBER_STACK, NOW, SYMBOLS, context, decision, level, victim_event

GROUP = (level(12), level(11, usage=8190, limit=8192, oom_group=1), level(1))
"""The memory cgroups of a worker in /job, whose memory.oom.group is set."""

MS = 1_000_000
START = 4000 * MS
"""When SIGKILL was sent to the first victim; the mark follows a microsecond later."""

OTHER = Task(500, 501, 1, "other")
"""Another trigger."""

AT_EXEC, AT_KILL = ("worker", "--at-exec"), ("worker", "--queue", "mailers")
"""The arguments of a victim without and with its context."""

END_OF_TIME = 1 << 63

BOTH_LEVELS = pytest.mark.parametrize(
    ("level_", "decision_", "incident"), [("full", decision(ktime=0xD), "12345678-d"), ("reduced", None, "12345678-10")]
)
"""Group kills with a decision and without: level, decision and id of the incident (see `group_kill`)."""


class Stream:
    """An assembler, and all records that it has emitted."""

    def __init__(self, level: Level = "reduced", *, kernel: str | None = HOST.kernel, **settings: Any) -> None:
        self.assembler = Assembler(replace(HOST, kernel=kernel), SYMBOLS, level, **settings)
        self.kills: list[record.OomKill] = []

    def add(self, *events: LinePart, at: int = NOW.monotonic) -> Stream:
        for event in events:
            self.kills += self.assembler.add(event, replace(NOW, monotonic=at))
        return self

    def advance(self, to: int = END_OF_TIME) -> Stream:
        """Turn the clock."""
        self.kills += self.assembler.due(to)
        return self

    def next_due(self) -> int | None:
        return self.assembler.next_due()

    def verdicts(self) -> list[tuple[int | None, str | None]]:
        return [(kill.process.pid, kill.oom.verdict) for kill in self.kills]

    def incidents(self) -> list[str]:
        return [kill.oom.incident for kill in self.kills]

    def group_sizes(self) -> list[int | None]:
        return [kill.oom.group.size if kill.oom.group else None for kill in self.kills]

    def events(self) -> list[tuple[str, int | None]]:
        return [(kill.event, kill.process.pid) for kill in self.kills]

    def args(self) -> list[tuple[str, ...] | None]:
        return [kill.process.command_args for kill in self.kills]


def killed(pid: int, ktime: int = 10, **changes: Any) -> VictimEvent:
    """The chosen process; no context is expected."""
    return victim_event(pid, ktime=ktime, **changes)


def member(pid: int, ktime: int = 20, **changes: Any) -> VictimEvent:
    return victim_event(pid, ktime=ktime, stack=MEMBER_STACK, **changes)


def sharer(pid: int, ktime: int = 15, **changes: Any) -> VictimEvent:
    return victim_event(pid, Kind.SHARER, ktime=ktime, **changes)


def dying(pid: int, ktime: int = 5, **changes: Any) -> VictimEvent:
    return victim_event(pid, Kind.DYING, ktime=ktime, **changes)


def signalled(pid: int = 100, signalled_at: int = START, **changes: Any) -> VictimEvent:
    """The chosen process; its context is expected."""
    exec_args = (b"worker\0--at-exec\0", 17)
    whole = {"ktime": signalled_at + 1000, "signalled_at": signalled_at, "exec_args": exec_args}
    return victim_event(pid, **{**whole, **changes})


def signalled_member(pid: int, signalled_at: int, **changes: Any) -> VictimEvent:
    return signalled(pid, signalled_at, **{"stack": MEMBER_STACK, "memcg": GROUP, **changes})


def signalled_sharer(pid: int, signalled_at: int, **changes: Any) -> VictimEvent:
    # the kernel does not mark a sharer: the event is sent with the signal
    return signalled(pid, signalled_at, kind=Kind.SHARER, ktime=signalled_at, **changes)


def context_of(pid: int = 100, signalled_at: int = START, **changes: Any) -> Any:
    return context(pid, signalled_at, **changes)


def group_kill(decision_: Decision | None, *pids: int) -> list[VictimEvent]:
    """Events of a group kill: the chosen process, then each member by the code path of a member."""
    first, *others = pids
    return [
        killed(first, 0x10, memcg=GROUP, decision=decision_),
        *(member(pid, 0x20 + i, memcg=GROUP, decision=decision_) for i, pid in enumerate(others)),
    ]


def only(event: VictimEvent, level_: Level = "reduced") -> record.OomKill:
    """Return the one record that a single event gives."""
    (kill,) = Stream(level_).add(event).advance().kills
    return kill
