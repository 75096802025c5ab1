# SPDX-License-Identifier: Apache-2.0
"""A change in the hierarchy of memory cgroups, as the kernel reports it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CgroupChange:
    """A memory cgroup whose name has room for the id of a container was made or removed.

    Attributes:
        ktime: CLOCK_MONOTONIC nanoseconds.
        path: From the root of the hierarchy of the memory controller, such as `/docker/<id>`.
        removed: Whether it was removed.
    """

    ktime: int
    path: str
    removed: bool
