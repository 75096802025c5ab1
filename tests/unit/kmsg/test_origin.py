# SPDX-License-Identifier: Apache-2.0
"""The time of a line that states only the kernel's own clock."""

from __future__ import annotations

from ooMtrace.kmsg.formats import LogLine
from ooMtrace.kmsg.origin import Origin, printed_at

BOOTED = 1_795_492_799_000_000_000
"""2026-11-24T03:59:59Z in nanoseconds since the epoch."""


def test_a_time_from_the_kernels_clock_is_never_later_than_the_log_was_read():
    origin = Origin("2026-11-24T04:00:00.000000Z", booted=BOOTED)

    assert printed_at(LogLine("a", ktime=500_000_000), origin) == "2026-11-24T03:59:59.500000Z"
    assert printed_at(LogLine("a", ktime=1_002_000_000), origin) == origin.observed
