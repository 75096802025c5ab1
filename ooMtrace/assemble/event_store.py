# SPDX-License-Identifier: Apache-2.0
"""Events that arrive before the line they belong to, and emitted kills that may still get an exit. Bounded. No I/O."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from typing import TypeVar

from ooMtrace.assemble.incident import Incident, SignalKey, VictimDeath
from ooMtrace.events import Context, Exit, Ranking
from ooMtrace.kernel.snapshot import HostSnapshot

MAX_RANKINGS = 8
MAX_CONTEXTS = 128
MAX_EXITS = 512
"""Limits exits and emitted kills, each."""

Emitted = tuple[Incident, VictimDeath]
K = TypeVar("K")
V = TypeVar("V")


class EventStore:
    """Keeps what one event alone does not complete; when a limit is reached, the oldest entry is discarded."""

    def __init__(self) -> None:
        self._rankings: OrderedDict[int, Ranking] = OrderedDict()
        self._contexts: OrderedDict[SignalKey, Context] = OrderedDict()
        self._exits: OrderedDict[SignalKey, tuple[Exit, HostSnapshot]] = OrderedDict()
        self._emitted: OrderedDict[SignalKey, Emitted] = OrderedDict()

    def add_ranking(self, ranking: Ranking) -> None:
        """Keep the candidates of a decision."""
        _put(self._rankings, ranking.ktime, ranking, MAX_RANKINGS)

    def ranking(self, decided_at: int) -> Ranking | None:
        """Return the candidates of the decision made at `decided_at` (CLOCK_MONOTONIC ns)."""
        return self._rankings.get(decided_at)

    def add_context(self, key: SignalKey, context: Context) -> None:
        """Keep a context whose kill has not been seen yet."""
        _put(self._contexts, key, context, MAX_CONTEXTS)

    def take_context(self, key: SignalKey) -> Context | None:
        """Remove and return the context of a victim."""
        return self._contexts.pop(key, None)

    def add_exit(self, key: SignalKey, exit_: Exit, snapshot: HostSnapshot) -> None:
        """Keep an exit whose kill has not been emitted yet."""
        _put(self._exits, key, (exit_, snapshot), MAX_EXITS)

    def add_emitted(self, key: SignalKey, incident: Incident, death: VictimDeath) -> None:
        """Keep an emitted kill until its victim exits."""
        _put(self._emitted, key, (incident, death), MAX_EXITS)

    def update_emitted(self, key: SignalKey, context: Context) -> bool:
        """Attach a late context to an emitted kill; return whether there is one."""
        if key not in self._emitted:
            return False
        incident, death = self._emitted[key]
        self._emitted[key] = incident, replace(death, context=context)
        return True

    def take_exited(self, key: SignalKey) -> tuple[Emitted, Exit, HostSnapshot] | None:
        """Remove and return an emitted kill and its exit; None unless both are here."""
        if key not in self._emitted or key not in self._exits:
            return None
        return self._emitted.pop(key), *self._exits.pop(key)


def _put(entries: OrderedDict[K, V], key: K, value: V, limit: int) -> None:
    entries[key] = value
    if len(entries) > limit:
        entries.popitem(last=False)
