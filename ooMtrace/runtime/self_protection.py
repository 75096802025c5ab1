# SPDX-License-Identifier: Apache-2.0
"""The tracer must survive the OOM: not be killed itself, and not wait for a disk to page its code back in."""

from __future__ import annotations

import ctypes
import os
import re
import resource
from collections.abc import Callable
from pathlib import Path

from ooMtrace.kernel import remedies
from ooMtrace.kernel.surroundings import observe_surroundings
from ooMtrace.runtime.capabilities import Capability, effective

SAFE_ADJ, NEVER_ADJ = -900, -1000
CAP_SYS_RESOURCE = 24  # include/uapi/linux/capability.h
MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT = 1, 2, 4  # include/uapi/asm-generic/mman.h; the last since Linux 4.4


def lower_oom_score(warn: Callable[[str], None], proc: Path = Path("/proc")) -> None:
    """Exempt this process from the OOM killer; warn where that fails, for it takes CAP_SYS_RESOURCE."""
    path = proc / "self/oom_score_adj"
    try:
        if not _is_safe(path.read_text()):
            path.write_text(f"{NEVER_ADJ}\n")
    except OSError as error:
        where = observe_surroundings(proc=proc)
        allowed = bool(where.bounding >> CAP_SYS_RESOURCE & 1)
        how = remedies.lower_oom_score(where, NEVER_ADJ, os.getpid(), allowed=allowed)
        warn(f"the OOM killer may kill oomtrace, too (oom_score_adj: {error.strerror}); {how}")


def _is_safe(adj: str) -> bool:
    found = re.fullmatch(r"-([0-9]{1,4})\n", adj)
    return found is not None and -int(found[1]) <= SAFE_ADJ


def lock_memory(warn: Callable[[str], None]) -> None:
    """Keep all present and future pages in memory, so that no page fault waits for a disk that all others wait for.

    MCL_ONFAULT loads nothing that is not used. Where memory can be locked only up to a limit, nothing is locked: at the
    limit, allocations would fail.
    """
    unlimited = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] == resource.RLIM_INFINITY
    if not (unlimited or Capability.IPC_LOCK in effective()):
        warn("cannot lock memory; events may be delayed under memory pressure; give it CAP_IPC_LOCK")
    elif ctypes.CDLL(None, use_errno=True).mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT):
        reason = os.strerror(ctypes.get_errno())
        warn(f"cannot lock memory (mlockall: {reason}); events may be delayed under memory pressure")
