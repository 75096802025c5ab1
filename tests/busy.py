# SPDX-License-Identifier: Apache-2.0
"""Run a command while two storms of unrelated kills go on beside it: no test may depend on being the only one here.

    .venv/bin/python tests/busy.py .venv/bin/pytest tests/host

Run it as root. Each storm is in a scratch cgroup of its own. `make test-busy` runs the host tests so.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from support.storm import storm
from support.victims import compile_victim

from ooMtrace.kernel.scratch_cgroup import scratch_cgroup

STORMS = 2
BURST = 20
"""Kills each second in each storm. The kernel prints ten whole reports in five seconds for all of them together."""

LONGEST_S = 45 * 60


def main() -> int:
    """Return the command's exit code."""
    over = threading.Event()
    killed = [0] * STORMS
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}  # it is for this file
    with tempfile.TemporaryDirectory(prefix="oomtrace-busy-") as folder:
        program = compile_victim(Path(folder))
        threads = [threading.Thread(target=rage, args=(program, number, killed, over)) for number in range(STORMS)]
        for thread in threads:
            thread.start()
        try:
            done = subprocess.run(sys.argv[1:], env=environment, check=False)
        finally:
            over.set()
            for thread in threads:
                thread.join()
    print(f"{sum(killed)} unrelated kills in {STORMS} storms beside it", file=sys.stderr)
    if min(killed) == 0:
        raise SystemExit("a storm made no kills: nothing was proven")
    return done.returncode


def rage(program: Path, number: int, killed: list[int], over: threading.Event) -> None:
    """Make kills in bursts until it is over."""
    end = time.monotonic() + LONGEST_S
    with scratch_cgroup(f"oomtrace-busy-{os.getpid()}-{number}") as cgroup:
        while not over.is_set() and time.monotonic() < end:
            begin = time.monotonic()
            killed[number] += len(storm(program, cgroup, BURST, at_once=2))
            over.wait(max(0.0, begin + 1 - time.monotonic()))


if __name__ == "__main__":
    sys.exit(main())
