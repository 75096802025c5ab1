# SPDX-License-Identifier: Apache-2.0
"""The kernel's own tracing as a witness: it shares no code with the BPF programs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

TRACEFS = Path("/sys/kernel/tracing")


@contextmanager
def marks() -> Iterator[Callable[[], list[int]]]:
    """Record oom:mark_victim until the end of the block; the function yielded returns the threads marked so far."""
    instance = TRACEFS / "instances" / "marks"
    instance.mkdir()
    (instance / "events/oom/mark_victim/enable").write_text("1")
    try:
        yield lambda: [int(pid) for pid in re.findall(r"mark_victim: pid=(\d+)", (instance / "trace").read_text())]
    finally:
        (instance / "events/oom/mark_victim/enable").write_text("0")
        instance.rmdir()
