# SPDX-License-Identifier: Apache-2.0
"""What the kernel's own tracing says: a witness that shares nothing with BPF."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

TRACEFS = Path("/sys/kernel/tracing")


@contextmanager
def marks() -> Iterator[Callable[[], list[int]]]:
    """Record oom:mark_victim for a while; the function given returns the threads marked so far."""
    instance = TRACEFS / "instances" / "marks"
    instance.mkdir()
    (instance / "events/oom/mark_victim/enable").write_text("1")
    try:
        yield lambda: [int(pid) for pid in re.findall(r"mark_victim: pid=(\d+)", (instance / "trace").read_text())]
    finally:
        (instance / "events/oom/mark_victim/enable").write_text("0")
        instance.rmdir()
