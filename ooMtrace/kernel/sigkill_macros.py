# SPDX-License-Identifier: Apache-2.0
"""Which SIGKILLs from user space the probes report: the macros of bpf/sigkill.h. Pure."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from ooMtrace.kernel.features import Features
from ooMtrace.settings import MAX_MEMORY_KILLERS, MEMORY_KILLERS, Settings

SIGKILLS = "sigkills"
"""The perf buffer for SIGKILLs from user space."""

BUFFER_BYTES, MIN_BUFFER_BYTES, MAX_BUFFER_BYTES = 4 << 20, 64 << 10, 512 << 10
"""For all CPUs, and the limits for each. An event has about 1 KiB."""

DEFAULT_SLOTS = 8
COMM_LEN = 16
NO_NAME = (1 << 64) - 1
"""Half of a name that no process has: the last byte of a comm is zero."""


def sigkill_macros(features: Features, settings: Settings) -> dict[str, int]:
    """Return the macros; none if SIGKILLs from user space are not reported."""
    if settings.sigkill == "none":
        return {}
    start, end = features.symbols.get("cgroup_kill_write", (0, 0))
    return {
        "WITH_SIGKILL": 1,
        "SIGKILL_ALL": int(settings.sigkill == "all"),
        "CGROUP_KILL_WRITE_SIZE": end - start,
        **dict(_names(MEMORY_KILLERS, 0, DEFAULT_SLOTS)),
        **dict(_names(settings.memory_killers, DEFAULT_SLOTS, MAX_MEMORY_KILLERS)),
    }


def sigkill_buffers(features: Features, settings: Settings) -> dict[str, int]:
    """Return the perf buffer with the size of each CPU's part in bytes; none as `sigkill_macros`."""
    if settings.sigkill == "none":
        return {}
    return {SIGKILLS: min(max(BUFFER_BYTES // features.possible_cpus, MIN_BUFFER_BYTES), MAX_BUFFER_BYTES)}


def _names(names: tuple[str, ...], first: int, slots: int) -> Iterator[tuple[str, int]]:
    """Yield each name as two numbers, as the kernel has them in memory: cut to 15 bytes and padded with zeros."""
    for slot in range(slots):
        low = high = NO_NAME
        if slot < len(names):
            comm = names[slot].encode("utf-8", "surrogateescape")[: COMM_LEN - 1].ljust(COMM_LEN, b"\0")
            low, high = (int.from_bytes(half, sys.byteorder) for half in (comm[:8], comm[8:]))
        yield f"KILLER_{first + slot}_LOW", low
        yield f"KILLER_{first + slot}_HIGH", high
