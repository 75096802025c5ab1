# SPDX-License-Identifier: Apache-2.0
"""The host's clocks as an object, so that tests can substitute one that they set."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """The part of the module `time` that decides when something is due; the module itself is the default everywhere."""

    def monotonic_ns(self) -> int:
        """Return CLOCK_MONOTONIC, nanoseconds: the kernel's own time stamps are on this clock."""

    def time_ns(self) -> int:
        """Return CLOCK_REALTIME, nanoseconds since the epoch."""

    def sleep(self, seconds: float, /) -> None:
        """Suspend the calling thread."""
