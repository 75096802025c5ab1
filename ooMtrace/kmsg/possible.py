# SPDX-License-Identifier: Apache-2.0
"""Which numbers can be true: logs are damaged, and counters of old kernels wrapped around. Others are unknown."""

from __future__ import annotations

PIDS = range(1, (1 << 22) + 1)
"""PID_MAX_LIMIT on 64 bits; 0 is the idle task, which allocates nothing that an OOM would be about."""

UIDS = range((1 << 32) - 1)
"""The last one of 32 bits, (uid_t)-1, means that there is none."""

ADJ = range(-1000, 1001)
"""oom_score_adj."""

ORDERS = range(-1, 32)
"""Of an allocation; -1 is sysrq f. MAX_ORDER is 10 nearly everywhere, and never more than 15."""

SCORES = range(2001)
"""points * 1000 / totalpages: up to 1000 for memory, and oom_score_adj."""


def known(number: int | None, possible: range) -> int | None:
    """Return a number if it is possible."""
    return number if number is not None and number in possible else None
