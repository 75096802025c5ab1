# SPDX-License-Identifier: Apache-2.0
"""What of a log was understood: a log without a line must not look like one without a kill. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ooMtrace.kmsg.formats import LogLine

LOOKS_LIKE_KILL = re.compile(r"Kill(?:ed)? process \d{1,10}\b")
MAX_EXAMPLES = 3
MAX_EXAMPLE = 200


@dataclass(slots=True)
class Coverage:
    """What was read of a log. Most lines are skipped, so it counts only those that were looked at.

    Attributes:
        kernel_lines: Lines that are the kernel's; 0: the log has none in its beginning, its end or near a kill.
        unrecognized_kills: Lines that look like a kill and gave none; those that another program wrote do not count.
        examples: The first of them, shortened.
        first: The kernel's first line that has a time.
        last: The kernel's last line that has a time.
    """

    kernel_lines: int = 0
    unrecognized_kills: int = 0
    examples: list[str] = field(default_factory=list)
    first: LogLine | None = None
    last: LogLine | None = None

    def add(self, line: LogLine) -> None:
        """Count a line of the kernel."""
        self.kernel_lines += 1
        if line.ktime is None and line.wall is None:
            return
        self.first = self.first or line
        self.last = line

    def add_unrecognized(self, text: str) -> None:
        """Count a line that looks like a kill."""
        self.unrecognized_kills += 1
        if len(self.examples) < MAX_EXAMPLES:
            self.examples.append(text[:MAX_EXAMPLE])
