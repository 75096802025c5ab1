# SPDX-License-Identifier: Apache-2.0
"""A queue in which nobody waits for somebody else's backlog. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

from ooMtrace.record import OomKill, OomNoKill

T = TypeVar("T")

FIRST_SUBORDINATE_UID, SUBORDINATE_UIDS = 100_000, 65_536
"""What useradd(8) and newuidmap(1) give a user for containers; SUB_UID_MIN and SUB_UID_COUNT of login.defs(5)."""

CGROUP_LEVELS = 3
"""Levels of a cgroup's path that count, such as user.slice/user-1000.slice/user@1000.service: below, a user may have
made as many cgroups as he likes."""

MAX_LANES_TRIED = 16
"""How many owners `pop` asks about at most, and how many of an owner's last items are compared to discard one."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Who an item belongs to, in two ways: a user who can vary one of them is recognized by the other.

    Attributes:
        account: The user; a range of subordinate user ids counts as one.
        cgroup: The upper levels of the cgroup's path.
    """

    account: Hashable
    cgroup: Hashable


def owner_of(event: OomKill | OomNoKill) -> Owner:
    """Return whose process was killed; without a kill, whose allocation failed: the log does not state the user."""
    if isinstance(event, OomNoKill):
        return Owner(None, None)
    return _owner_of_kill(event)


def _owner_of_kill(kill: OomKill) -> Owner:
    uid = kill.process.user.id if kill.process.user else None
    if uid is not None and uid >= FIRST_SUBORDINATE_UID:
        uid = -1 - (uid - FIRST_SUBORDINATE_UID) // SUBORDINATE_UIDS
    path = kill.cgroup.path if kill.cgroup else None
    return Owner(uid, None if path is None else tuple(path.split("/", CGROUP_LEVELS + 1)[: CGROUP_LEVELS + 1]))


@dataclass(frozen=True, slots=True)
class _Entry(Generic[T]):
    item: T
    lanes: tuple[Hashable, Hashable]
    weight: int


Lane = OrderedDict[int, None]
"""The keys of one owner's items, the oldest first."""


class FairQueue(Generic[T]):
    """Gives out items in turns: by account, by cgroup, by account, ... The items of one owner stay in order.

    Every operation takes constant time, except that discarding one looks at the number of items of each owner.

    Args:
        limit: The greatest total weight.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._entries: dict[int, _Entry[T]] = {}
        self._rings: tuple[OrderedDict[Hashable, Lane], ...] = (OrderedDict(), OrderedDict())
        self._weight = 0
        self._pushed = 0
        self._turn = 0

    def __len__(self) -> int:
        return len(self._entries)

    def push(self, item: T, owner: Owner, weight: int = 1) -> Iterator[T]:
        """Append an item; yield those that are discarded to stay within the limit: the newest of the longest backlog.

        Nothing happens before the result is iterated over.
        """
        self._pushed += 1
        lanes = (owner.account, owner.cgroup)
        self._entries[self._pushed] = _Entry(item, lanes, weight)
        self._weight += weight
        for ring, name in zip(self._rings, lanes, strict=True):
            ring.setdefault(name, OrderedDict())[self._pushed] = None
        while self._weight > self._limit:
            yield self._remove(self._most_expendable())

    def pop(self, is_refused: Callable[[T], bool] = lambda _: False) -> T | None:
        """Remove and return the next item; None if there is none, or if those whose turn it is are refused."""
        for _ in self._rings:
            ring = self._rings[self._turn]
            self._turn = (self._turn + 1) % len(self._rings)
            for _ in range(min(len(ring), MAX_LANES_TRIED)):
                name, lane = next(iter(ring.items()))
                ring.move_to_end(name)
                key = next(iter(lane))
                if not is_refused(self._entries[key].item):
                    return self._remove(key)
        return None

    def has_backlog_of(self, owner: Owner) -> bool:
        """Say whether both the account and the cgroup have items."""
        return owner.account in self._rings[0] and owner.cgroup in self._rings[1]

    def _remove(self, key: int) -> T:
        entry = self._entries.pop(key)
        self._weight -= entry.weight
        for ring, name in zip(self._rings, entry.lanes, strict=True):
            del ring[name][key]
            if not ring[name]:
                del ring[name]
        return entry.item

    def _most_expendable(self) -> int:
        """Return the key of one of the newest items of the longest lane: of them the one that is in another long lane.

        A cgroup may hold the processes of all users: then the user with the longest lane is discarded from.
        """
        longest = max((lane for ring in self._rings for lane in ring.values()), key=len)
        return max(islice(reversed(longest), MAX_LANES_TRIED), key=self._backlog)

    def _backlog(self, key: int) -> int:
        return sum(len(ring[name]) for ring, name in zip(self._rings, self._entries[key].lanes, strict=True))
