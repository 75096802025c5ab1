# SPDX-License-Identifier: Apache-2.0
"""tracefs is unmounted while kills are traced: nothing is lost, because file descriptors keep the probes attached."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from _scenario import scenario
from _tracefs import TRACEFS

KILLS = 3


def mounts() -> list[str]:
    """Return where tracefs is mounted, the last first: debugfs may have mounted another one."""
    rows = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    return [where for _, where, kind, *_ in reversed(rows) if kind == "tracefs"]


@contextmanager
def unmounted() -> Iterator[None]:
    for where in mounts():
        subprocess.run(["umount", where], check=True)
    try:
        yield
    finally:
        subprocess.run(["mount", "-t", "tracefs", "tracefs", TRACEFS], check=True)


with scenario() as run:
    limited, pids = run.cgroup(24), []
    with unmounted():
        run.equal("mounted", mounts(), [])
        run.true("its folder is empty", not list(TRACEFS.iterdir()))
        for _ in range(KILLS):
            victim = run.victim("hog", limited).go()
            run.equal("status", victim.end(), -signal.SIGKILL)
            pids.append(victim.pid)
        lines = run.kills(pids)
    run.equal("lines", len(lines), KILLS)
