# SPDX-License-Identifier: Apache-2.0
"""The recorder must outlive what it records: not be killed itself, and not wait for the disk to get its code back."""

from __future__ import annotations

import ctypes
import os
import resource
from collections.abc import Callable
from pathlib import Path

from ooMtrace.probe.compiler_memory import unlock_compiler
from ooMtrace.runtime.capabilities import Capability, effective

SAFE_ADJ, NEVER_ADJ = -900, -1000
MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT = 1, 2, 4  # include/uapi/asm-generic/mman.h; the last since Linux 4.4


def lower_oom_score(warn: Callable[[str], None], proc: Path = Path("/proc")) -> None:
    """Ask the OOM killer to spare us; warn if it may still take us, for to ask takes CAP_SYS_RESOURCE."""
    path = proc / "self/oom_score_adj"
    try:
        if int(path.read_text()) > SAFE_ADJ:
            path.write_text(f"{NEVER_ADJ}\n")
    except OSError as error:
        how = f"set OOMScoreAdjust={NEVER_ADJ} in its unit, or run: choom -n {NEVER_ADJ} -p {os.getpid()}"
        warn(f"the OOM killer may take oomtrace, too (oom_score_adj: {error.strerror}); {how}")


def lock_memory(warn: Callable[[str], None]) -> None:
    """Keep in memory what is there and what will be, so that we need not wait for a disk that all others wait for.

    It loads nothing. And it is all or nothing, for below a limit we could not grow any more.
    """
    unlimited = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] == resource.RLIM_INFINITY
    if not (unlimited or Capability.IPC_LOCK in effective()):
        warn("it may be slow when memory is short, for it cannot lock its own; give it CAP_IPC_LOCK")
    elif ctypes.CDLL(None, use_errno=True).mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT):
        warn(f"it may be slow when memory is short (mlockall: {os.strerror(ctypes.get_errno())})")
    else:
        unlock_compiler()
