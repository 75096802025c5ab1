# SPDX-License-Identifier: Apache-2.0
"""What `oomtrace logs` costs on a kern.log of 1 GB with 1,000 reports, beside grep in the same run; prints JSON.

`python -m support.logcost [BYTES REPORTS]`, in `tests`.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from support.kernlog import blocks

ROUNDS = 3
OOMTRACE = str(Path(sys.executable).with_name("oomtrace"))


def run(*command: str) -> dict[str, Any]:
    """Run a command; return its last line, seconds by the clock and on the CPU, and peak memory in MiB."""
    begin = time.perf_counter()
    with tempfile.TemporaryFile() as out, subprocess.Popen(command, stdout=out) as started:
        _, status, usage = os.wait4(started.pid, 0)
        started.returncode = os.waitstatus_to_exitcode(status)
        took = time.perf_counter() - begin
        out.seek(0)
        said = out.read().splitlines()
    return {
        "lines": len(said),
        "last": said[-1].decode() if said else "",
        "seconds": took,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_mib": usage.ru_maxrss / 1024,
    }


def main(size: int = 1_000_000_000, reports: int = 1_000) -> None:
    """Write the log, read it by both in turn, and tell the medians."""
    with tempfile.NamedTemporaryFile(suffix=".log") as log:
        for block in blocks(size, reports):
            log.write(block)
        log.flush()
        rounds = [
            (run(OOMTRACE, "logs", log.name), run("grep", "-c", "Killed process", log.name)) for _ in range(ROUNDS)
        ]
        size = Path(log.name).stat().st_size
    told: dict[str, Any] = {"bytes": size, "reports": [ours["lines"] for ours, _ in rounds], "rounds": ROUNDS}
    told["grep_counts"] = [int(grep["last"]) for _, grep in rounds]
    # grep's would be ours: getrusage(2) counts what was there before exec, too.
    told["peak_mib"] = round(max(ours["peak_mib"] for ours, _ in rounds), 1)
    for name in ("seconds", "cpu_seconds"):
        told[name] = {
            who: round(statistics.median(one[i][name] for one in rounds), 2)
            for i, who in enumerate(("oomtrace", "grep"))
        }
    print(json.dumps(told))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
