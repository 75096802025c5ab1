# SPDX-License-Identifier: Apache-2.0
"""A cgroup with swap: swapped pages count as points."""

import signal
import subprocess
from pathlib import Path

from _log import PAGE
from _scenario import scenario
from _tolerances import at

# Locked pages cannot be swapped out: they push the earlier pages to swap, until the limit is reached.
CODE = """
import mmap
from contextlib import suppress
before = mmap.mmap(-1, 100 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
with suppress(OSError):  # EINVAL: a kernel without huge pages, such as PREEMPT_RT
    before.madvise(mmap.MADV_NOHUGEPAGE)
for at in range(0, len(before), mmap.PAGESIZE): before[at] = 1
mmap.mmap(-1, 800 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x2000 | 0x8000)
"""

subprocess.run(["modprobe", "zram"], check=True)
Path("/sys/block/zram0/disksize").write_text("128M")
subprocess.run("mkswap -q /dev/zram0 && swapon /dev/zram0", shell=True, check=True)
with scenario() as run:
    limited = run.cgroup(64)
    (limited.folder / "memory.swap.max").write_text(str(64 << 20))
    victim = run.python(f"exec({CODE!r})", limited)
    run.equal("status", victim.wait(), -signal.SIGKILL)
    (line,) = run.kills([victim.pid])
    run.true("points of swap", at(line, "oom.points.swap") > 0)
    run.equal("swap", at(line, "process.memory.swap"), PAGE * at(line, "oom.points.swap"))
    run.equal("limit", at(line, "oom.limit_bytes"), 128 << 20)
    run.equal("swap limit", at(line, "oom.memcg.swap_limit"), 64 << 20)
    run.true("swap of the cgroup", 0 < at(line, "oom.memcg.swap") <= 64 << 20)
    subprocess.run(["swapoff", "/dev/zram0"], check=True)
