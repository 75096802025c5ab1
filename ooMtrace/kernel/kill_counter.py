# SPDX-License-Identifier: Apache-2.0
"""The kernel's count of OOM kills."""

from __future__ import annotations

import re
from pathlib import Path


def read_kill_count(proc: Path = Path("/proc")) -> int | None:
    """Return the number of OOM kills since boot: oom_kill in /proc/vmstat.

    None before Linux 4.13 (8e675f7af507), which does not count them, and where the file cannot be read.
    """
    try:
        found = re.search(r"^oom_kill ([0-9]{1,18})$", (proc / "vmstat").read_text("ascii", "replace"), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) if found else None
