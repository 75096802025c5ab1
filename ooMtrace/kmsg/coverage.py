# SPDX-License-Identifier: Apache-2.0
"""What of a log was understood: a log without a line must not look like one without a kill. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

LOOKS_LIKE_KILL = re.compile(r"Kill(?:ed)? process [0-9]{1,10}\b")
MAX_EXAMPLES = 3
MAX_EXAMPLE = 200


@dataclass(slots=True)
class Coverage:
    """What could not be read of a log. Most lines are skipped, so it counts only those that were looked at.

    Attributes:
        unrecognized_kills: Lines that look like a kill and gave none; those that another program wrote do not count.
        examples: The first of them, shortened.
    """

    unrecognized_kills: int = 0
    examples: list[str] = field(default_factory=list)

    def add_unrecognized(self, text: str) -> None:
        """Count a line that looks like a kill."""
        self.unrecognized_kills += 1
        if len(self.examples) < MAX_EXAMPLES:
            self.examples.append(text[:MAX_EXAMPLE])
