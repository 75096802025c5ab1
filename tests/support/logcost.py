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
    """Run a command; return its number of lines, the last line, elapsed and CPU seconds, and peak memory in MiB."""
    begin = time.perf_counter()
    with tempfile.TemporaryFile() as out, subprocess.Popen(command, stdout=out) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        elapsed = time.perf_counter() - begin
        out.seek(0)
        lines = out.read().splitlines()
    return {
        "lines": len(lines),
        "last": lines[-1].decode() if lines else "",
        "seconds": elapsed,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_mib": usage.ru_maxrss / 1024,
    }


def main(size: int = 1_000_000_000, reports: int = 1_000) -> None:
    """Write the log, read it with both in turn, and print the medians."""
    with tempfile.NamedTemporaryFile(suffix=".log") as log:
        for block in blocks(size, reports):
            log.write(block)
        log.flush()
        rounds = [
            (run(OOMTRACE, "logs", log.name), run("grep", "-c", "Killed process", log.name)) for _ in range(ROUNDS)
        ]
        size = Path(log.name).stat().st_size
    result: dict[str, Any] = {"bytes": size, "reports": [ours["lines"] for ours, _ in rounds], "rounds": ROUNDS}
    result["grep_counts"] = [int(grep["last"]) for _, grep in rounds]
    # grep's would be this process's own: getrusage(2) includes the memory before exec.
    result["peak_mib"] = round(max(ours["peak_mib"] for ours, _ in rounds), 1)
    for name in ("seconds", "cpu_seconds"):
        result[name] = {
            command: round(statistics.median(measured[i][name] for measured in rounds), 2)
            for i, command in enumerate(("oomtrace", "grep"))
        }
    print(json.dumps(result))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
