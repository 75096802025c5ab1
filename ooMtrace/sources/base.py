# SPDX-License-Identifier: Apache-2.0
"""What a source of kills offers, whichever it is: the probes (probe_source.py) or the kernel log (kmsg_source.py)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from ooMtrace.kernel.cgroup_change import CgroupChange
from ooMtrace.record import OomKill, OomNoKill


class DeliveryLog(Protocol):
    """Keeps account of the kills that a source has delivered.

    Attributes:
        base: The kernel's count of kills when the source began; None: the kernel does not count.
    """

    base: int | None

    def record_delivery(self, nth: int, tid: int | None) -> None:
        """Note the nth kill since the source began; `tid` is None for a kill without a line of its own."""


class Source(Protocol):
    """Delivers kills as they happen."""

    def fds(self) -> list[int]:
        """Return the file descriptors that become readable when something dies."""

    def next_due(self) -> int | None:
        """Return when a kill has waited long enough (CLOCK_MONOTONIC ns); None if none waits."""

    def kills(self, delivery_log: DeliveryLog) -> Iterator[OomKill | OomNoKill]:
        """Yield what is ready, without waiting; OOMs without a kill are only in the kernel log."""

    def drain(self, delivery_log: DeliveryLog) -> Iterator[OomKill | OomNoKill]:
        """Yield all that has arrived and all that still waits: nothing more will come."""

    def cgroup_changes(self) -> Iterator[CgroupChange]:
        """Yield the cgroups of containers that were made and removed, without waiting; none if nothing reports them."""

    def kill_count(self) -> int:
        """Return how many kills the kernel has counted since the source began, as far as can be seen here."""

    def lost_records(self) -> int:
        """Return how many records were lost since the source began: the buffer was full or the log overwritten."""

    def close(self) -> None:
        """Detach; nothing can be read afterwards."""
