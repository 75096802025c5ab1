# SPDX-License-Identifier: Apache-2.0
"""The statistics of a memory cgroup in a report, mem_cgroup_print_oom_meminfo() in mm/memcontrol.c. Pure.

Until 5.2 there is one line for the cgroup and each one below it, with sizes in kilobytes (`cache:844KB rss:520KB`).
Later there is a line for each number of the cgroup alone, as in memory.stat (`anon 33554432`): bytes, or counts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

KIB = 1024
MAX_STATS = 160
"""7.3 has 71, version 1 up to 50."""

POSSIBLE = range(1 << 62)
"""A larger number is a counter that was negative, or a limit that is not set."""

HEADING = re.compile(r"^Memory cgroup stats for (.*?):((?: [A-Za-z0-9_]{1,64}:[0-9]{1,20}KB)*) *\Z", re.DOTALL)
IN_KIB = re.compile(r" ([A-Za-z0-9_]{1,64}):([0-9]{1,20})KB")
IN_BYTES = re.compile(r"^([a-z][a-z0-9_]{0,63}) ([0-9]{1,20})\Z")

LONGEST = (*range(971, 977), *range(987, 993), *range(1019, 1025))
"""Characters: from 5.3 to 6.4 all numbers are one record of the log, which is cut at LOG_LINE_MAX (1024 less what is
reserved for the prefix): then the last number may lack digits."""


@dataclass(slots=True)
class MemcgStat:
    """The statistics of one cgroup.

    Attributes:
        numbers: By the kernel's names; sizes in bytes.
        length: Characters of the lines so far.
        last: The name in the last line.
    """

    numbers: dict[str, int] = field(default_factory=dict)
    length: int = 0
    last: str | None = None

    def add_kib(self, text: str) -> None:
        """Add the numbers of a line until 5.2."""
        for name, number in IN_KIB.findall(text):
            self._add(name, int(number) * KIB)

    def add(self, text: str) -> bool:
        """Add the numbers of these lines, if the first one is of the statistics; return whether it is."""
        lines = text.split("\n")
        if not IN_BYTES.match(lines[0]):
            return False
        for line in lines:
            found = IN_BYTES.match(line)
            self.last = found[1] if found else None
            self.length += len(line) + 1
            if found:
                self._add(found[1], int(found[2]))
        return True

    def complete(self) -> dict[str, int]:
        """Return the numbers without one that may have been cut."""
        cut = self.last if self.length - 1 in LONGEST else None
        return {name: number for name, number in self.numbers.items() if name != cut}

    def _add(self, name: str, number: int) -> None:
        """Keep the first number of a name: there are no others, unless they were forged."""
        if number in POSSIBLE and len(self.numbers) < MAX_STATS:
            self.numbers.setdefault(name, number)
