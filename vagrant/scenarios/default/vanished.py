# SPDX-License-Identifier: Apache-2.0
"""The cgroup is removed as soon as its only process is gone: the line has its path and its limit nevertheless."""

import signal
import time
from pathlib import Path

from _checks import at
from _stage import stage

KILLS = 8
LIMIT_MB = 16


def remove(folder: Path) -> None:
    """Remove a cgroup in the moment that lets it."""
    deadline = time.monotonic() + 60
    while folder.exists():
        try:
            folder.rmdir()
        except OSError:  # somebody is in there still
            assert time.monotonic() < deadline, folder


with stage() as on:
    pids, was, sooner = [], [], 0
    for i in range(KILLS):
        limited = on.cgroup(LIMIT_MB)
        was.append((limited.path, str(limited.folder.stat().st_ino), LIMIT_MB << 20))
        one = on.victim("hog", limited, 2 * LIMIT_MB).go()
        remove(limited.folder)
        sooner += len(on.full.kills()) <= i
        on.equal("status", one.end(), -signal.SIGKILL)
        pids.append(one.pid)
        time.sleep(0.6)  # the kernel logs no more than ten OOMs whole in five seconds
    lines = on.kills(pids)
    print(f"{sooner} of {KILLS} cgroups were gone before their lines were written")
    for line, (path, ident, limit) in zip(lines, was, strict=True):
        memcg, own = line["oom"]["memcg"], line["cgroup"]
        on.equal("memcg", (memcg["path"], memcg["id"], memcg["limit"]), (path, ident, limit))
        on.equal("cgroup", (own["path"], own["id"]), (path, ident))
        on.equal("kills in it", at(line, "oom.memcg.events.oom_kill"), 1)
        on.equal("missing", line["missing"], [])
