# SPDX-License-Identifier: Apache-2.0
"""What one run leaves to the next: up to which of the kernel's kills all have been told. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

FORM = re.compile(r"oomtrace-state 1\nboot_id ([\w-]{1,64})\noom_kill (\d{1,18})\ntime ([\dT:.Z-]{1,40})\n")


@dataclass(frozen=True, slots=True)
class State:
    """Of a boot: the number of the last kill before which none is missing, and when that was written."""

    boot_id: str
    oom_kill: int
    time: str

    def settled(self, boot_id: str | None) -> int:
        """Return the number in this boot: after another one the kernel counts from 0 again."""
        return self.oom_kill if boot_id == self.boot_id else 0

    def dump(self) -> bytes:
        """Return the state as text."""
        return f"oomtrace-state 1\nboot_id {self.boot_id}\noom_kill {self.oom_kill}\ntime {self.time}\n".encode()


def parse(text: bytes) -> State | None:
    """Read such a text; None if it is damaged."""
    found = FORM.fullmatch(text.decode("ascii", "replace"))
    return State(found[1], int(found[2]), found[3]) if found else None
