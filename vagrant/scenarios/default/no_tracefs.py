# SPDX-License-Identifier: Apache-2.0
"""tracefs is unmounted while kills are traced: nothing is lost, for the probes hang on file descriptors."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from _stage import stage
from _tracefs import TRACEFS

KILLS = 3


def mounts() -> list[str]:
    """Where tracefs is mounted, the last first: debugfs may have brought one of its own."""
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


with stage() as on:
    limited, pids = on.cgroup(24), []
    with unmounted():
        on.equal("mounted", mounts(), [])
        on.true("its folder is empty", not list(TRACEFS.iterdir()))
        for _ in range(KILLS):
            one = on.victim("hog", limited).go()
            on.equal("status", one.end(), -signal.SIGKILL)
            pids.append(one.pid)
        lines = on.kills(pids)
    on.equal("lines", len(lines), KILLS)
