# SPDX-License-Identifier: Apache-2.0
"""The names of containers, bounded by count and bytes. Pure: the caller has the time and the lock."""

from __future__ import annotations

import sys
from collections import OrderedDict
from dataclasses import fields

from ooMtrace.enrich.container_names import Names

MAX_CONTAINERS = 1000

MAX_BYTES = 3 << 20
"""Of the names, as `size_of` counts them. With the rest of the process's overhead the limit is 4 MiB."""

GRACE_NS = 60_000_000_000
"""Names are kept for so long after the cgroup was removed: kills are reported with a delay."""

ENTRY_BYTES = 600
"""What an entry takes beside its texts: the keys, the dataclass, and the places in two dictionaries."""


class NameCache:
    """The names of those containers that were seen most recently.

    Nothing happens when the time of a removed container is over, only when something is stored or marked after that.
    """

    def __init__(self, max_containers: int = MAX_CONTAINERS, max_bytes: int = MAX_BYTES) -> None:
        self._max_containers = max_containers
        self._max_bytes = max_bytes
        self._names: OrderedDict[str, Names] = OrderedDict()
        self._removed: OrderedDict[str, int] = OrderedDict()
        """When the cgroups of these containers were removed (CLOCK_MONOTONIC ns), the first one first."""
        self._bytes = 0

    def __len__(self) -> int:
        """Return how many containers are known."""
        return len(self._names)

    def __contains__(self, id_: str) -> bool:
        """Return whether the names of a container are known."""
        return id_ in self._names

    def get(self, id_: str) -> Names | None:
        """Return the names of a container; None if they are unknown."""
        return self._names.get(id_)

    def store(self, id_: str, names: Names, now: int) -> None:
        """Keep the names of a container; others are evicted if there is no room: removed ones, then the oldest."""
        self._evict(id_)
        self._expire(now)
        self._names[id_] = names
        self._bytes += size_of(names)
        while len(self._names) > self._max_containers or self._bytes > self._max_bytes:
            self._evict(next(iter(self._removed or self._names)))

    def mark_removed(self, id_: str, now: int) -> None:
        """Note that the cgroup of a container was removed."""
        self._expire(now)
        if id_ in self._names:
            self._removed.setdefault(id_, now)

    def _expire(self, now: int) -> None:
        while self._removed and next(iter(self._removed.values())) + GRACE_NS <= now:
            self._evict(next(iter(self._removed)))

    def _evict(self, id_: str) -> None:
        self._removed.pop(id_, None)
        names = self._names.pop(id_, None)
        if names is not None:
            self._bytes -= size_of(names)


def size_of(names: Names) -> int:
    """Return about how many bytes of memory the names of a container take."""
    values = (getattr(names, field.name) for field in fields(names))
    texts = [value for value in values if isinstance(value, str)]
    return ENTRY_BYTES + sum(map(sys.getsizeof, (*texts, *(names.labels or {}).values())))
