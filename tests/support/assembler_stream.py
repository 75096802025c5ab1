# SPDX-License-Identifier: Apache-2.0
"""An assembler with a clock to turn, and all the kills that came out of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ooMtrace import record
from ooMtrace.assemble.assembler import Assembler
from ooMtrace.events import ProbeEvent
from ooMtrace.settings import Level
from support.probe_events import HOST, NOW, SYMBOLS, level

GROUP = (level(12), level(11, usage=8190, limit=8192, oom_group=1), level(1))
"""The memory cgroups of a worker in /job, which asks to be killed as a whole."""

MS = 1_000_000


class Stream:
    """An assembler, and all that it has said: (pid, verdict)."""

    def __init__(self, level: Level = "reduced", *, kernel: str = HOST.kernel, **wishes: Any) -> None:
        self.assembler = Assembler(replace(HOST, kernel=kernel), SYMBOLS, level, **wishes)
        self.kills: list[record.OomKill] = []

    def add(self, *sightings: ProbeEvent, at: int = NOW.monotonic) -> Stream:
        for seen in sightings:
            self.kills += self.assembler.add(seen, replace(NOW, monotonic=at))
        return self

    def wait(self, until: int) -> Stream:
        self.kills += self.assembler.due(until)
        return self

    def said(self) -> list[tuple[int | None, str | None]]:
        return [(kill.process.pid, kill.oom.verdict) for kill in self.kills]

    def incidents(self) -> list[str]:
        return [kill.oom.incident for kill in self.kills]

    def sizes(self) -> list[int | None]:
        return [kill.oom.group and kill.oom.group.size for kill in self.kills]
