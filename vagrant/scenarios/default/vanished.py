# SPDX-License-Identifier: Apache-2.0
"""The cgroup is removed as soon as its only process has exited: the line has its path and its limit all the same."""

import signal
import time
from pathlib import Path

from _scenario import scenario
from _tolerances import at

KILLS = 8
LIMIT_MB = 16


def remove(folder: Path) -> None:
    """Remove a cgroup as soon as the kernel allows it."""
    deadline = time.monotonic() + 60
    while folder.exists():
        try:
            folder.rmdir()
        except OSError:  # a process is still in it
            assert time.monotonic() < deadline, folder


with scenario() as run:
    pids, cgroups, sooner = [], [], 0
    for i in range(KILLS):
        limited = run.cgroup(LIMIT_MB)
        cgroups.append((limited.path, str(limited.folder.stat().st_ino), LIMIT_MB << 20))
        victim = run.victim("hog", limited, 2 * LIMIT_MB).go()
        remove(limited.folder)
        sooner += len(run.full.kills()) <= i
        run.equal("status", victim.end(), -signal.SIGKILL)
        pids.append(victim.pid)
        time.sleep(0.6)  # the kernel prints at most ten full reports in five seconds
    lines = run.kills(pids)
    print(f"{sooner} of {KILLS} cgroups were gone before their lines were written")
    for line, (path, ident, limit) in zip(lines, cgroups, strict=True):
        memcg, own = line["oom"]["memcg"], line["cgroup"]
        run.equal("memcg", (memcg["path"], memcg["id"], memcg["limit"]), (path, ident, limit))
        run.equal("cgroup", (own["path"], own["id"]), (path, ident))
        run.equal("kills in it", at(line, "oom.memcg.events.oom_kill"), 1)
        run.equal("missing", line["missing"], [])
