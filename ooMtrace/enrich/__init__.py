# SPDX-License-Identifier: Apache-2.0
"""What user space adds to a kill. An enricher takes a record and returns it with more facts; it never raises."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ooMtrace.kernel.cgroup_change import CgroupChange
from ooMtrace.record import OomKill

Enricher = Callable[[OomKill], OomKill]


@dataclass(frozen=True, slots=True)
class Later:
    """The facts cannot be looked up before this time (CLOCK_MONOTONIC ns)."""

    at_ns: int


class SlowEnricher(Protocol):
    """Adds facts that may take long to look up, or for ever."""

    def prepare(self, kill: OomKill) -> None:
        """Take what will be gone once the victim has exited, without waiting. `add_known` or `skip` releases it."""

    def add_known(self, kill: OomKill) -> OomKill | None:
        """Return the kill with all facts, if they are known or not needed; None: they have to be looked up."""

    def look_up(self, kill: OomKill) -> OomKill | Later:
        """Look the facts up, and return the kill with them. Runs in a thread of its own, and may hang."""

    def skip(self, kill: OomKill) -> OomKill:
        """Return the kill without the facts, which are then in `missing`."""


class ContainerWatcher(Protocol):
    """Learns of containers before one of their processes is killed."""

    def observe(self, change: CgroupChange) -> None:
        """Take a change of cgroups, without waiting."""

    def next_due(self) -> int | None:
        """Return when `look_again` has something to do (CLOCK_MONOTONIC ns); None: not before the next change."""

    def look_again(self) -> None:
        """Do what is due, without waiting."""


def enriched(kill: OomKill, enrichers: tuple[Enricher, ...]) -> OomKill:
    """Return a kill with what these enrichers add, in this order."""
    for enrich in enrichers:
        kill = enrich(kill)
    return kill


@dataclass(frozen=True, slots=True)
class Enrichers:
    """What a kill passes through.

    Attributes:
        urgent: Applied in this order as soon as the kill is delivered, for the victim is exiting. They are cheap.
        later: Applied in this order when it is the kill's turn.
        slow: Applied after those, in a thread, and only if there is time.
        watcher: Given all changes of cgroups.
        sender: What of these is applied to the sender of a SIGKILL: its user, unit and container.
    """

    urgent: tuple[Enricher, ...] = ()
    later: tuple[Enricher, ...] = ()
    slow: tuple[SlowEnricher, ...] = ()
    watcher: ContainerWatcher | None = None
    sender: tuple[Enricher, ...] = ()
