# SPDX-License-Identifier: Apache-2.0
"""A clock that a test turns."""

from __future__ import annotations

START_NS = 5_000_000_000
EPOCH_NS = 1_700_000_000_000_000_000 - START_NS
"""CLOCK_REALTIME when CLOCK_MONOTONIC was 0; as in support.probe_events.NOW."""


class FakeClock:
    """Stands for the module `time` (ooMtrace.kernel.clock.Clock): sleeping takes no time but moves the clock."""

    def __init__(self, monotonic: int = START_NS) -> None:
        self.monotonic = monotonic
        self.sleeps: list[float] = []

    def monotonic_ns(self) -> int:
        return self.monotonic

    def time_ns(self) -> int:
        return EPOCH_NS + self.monotonic

    def sleep(self, seconds: float, /) -> None:
        self.sleeps.append(seconds)
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        self.monotonic += round(seconds * 1e9)
