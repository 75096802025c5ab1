# SPDX-License-Identifier: Apache-2.0
"""What is counted of each workload and of each limit. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, TypeVar

MOST_GROUPS = 10_000
"""Workloads and limits that are counted apart; kills of later ones are counted together."""

MOST_HOSTS = 50
"""Hosts of one workload that are counted."""

MOST_LIMITS = 50
"""Values of one limit that are counted apart."""

OTHERS = "all others"


@dataclass(slots=True)
class Period:
    """When something happened: first and last, of those whose time is known."""

    first: datetime | None = None
    last: datetime | None = None

    def add(self, time: datetime | None) -> bool:
        """Extend it; return whether this time is the last one so far."""
        if time is None:
            return self.last is None
        self.first = time if self.first is None else min(self.first, time)
        is_last = self.last is None or time >= self.last
        self.last = time if is_last else self.last
        return is_last


@dataclass(slots=True)
class Workload:
    """Kills of one workload.

    Attributes:
        kills: Their number.
        hosts: Where; at most MOST_HOSTS.
        causes: What ran out of memory.
        rules: The first suggestion's rule; "": no rule fits.
        advice: The first suggestion for the last of them that has one.
        memory: Bytes by kind that the victims held, added up.
        measured: How many of them that is known of.
        largest: The most bytes that one held in RAM; None if not known.
    """

    kills: int = 0
    hosts: set[str] = field(default_factory=set)
    causes: Counter[str] = field(default_factory=Counter)
    rules: Counter[str] = field(default_factory=Counter)
    advice: str = ""
    memory: Counter[str] = field(default_factory=Counter)
    measured: int = 0
    largest: int | None = None
    period: Period = field(default_factory=Period)
    advised: Period = field(default_factory=Period)


@dataclass(slots=True)
class Hits:
    """Kills at one value of a limit.

    Attributes:
        kills: Their number.
        use: The most bytes that were charged, swap included; None if not known.
        swap: The part of it that was in swap.
    """

    kills: int = 0
    use: int | None = None
    swap: int = 0


@dataclass(slots=True)
class Limit:
    """Kills at one limit.

    Attributes:
        kills: Their number.
        by_value: Bytes of the limit, and the kills at it.
        newest: Its value at the last kill.
        rules: The first suggestion's rule; "": no rule fits.
    """

    kills: int = 0
    by_value: dict[int, Hits] = field(default_factory=dict)
    newest: int = 0
    rules: Counter[str] = field(default_factory=Counter)
    period: Period = field(default_factory=Period)


Tally = TypeVar("Tally")


class Groups(Generic[Tally]):
    """Tallies by name, at most MOST_GROUPS and one for all others.

    Args:
        new: Makes an empty tally.
    """

    def __init__(self, new: Callable[[], Tally]) -> None:
        self._new = new
        self.tallies: dict[str, Tally] = {}
        self.others: Tally | None = None

    def of(self, name: str) -> Tally:
        """Return the tally of a name; that of all others if there are too many names."""
        if (tally := self.tallies.get(name)) is not None:
            return tally
        if len(self.tallies) >= MOST_GROUPS:
            self.others = self.others if self.others is not None else self._new()
            return self.others
        return self.tallies.setdefault(name, self._new())
