# SPDX-License-Identifier: Apache-2.0
"""`oomtrace logs` on more than fits anywhere: nothing is passed over, and memory does not follow the size."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from support.kernlog import FIRST_PID, blocks

MB = 1_000_000
READER = r"""
import re, sys
from ooMtrace.cli import main
assert main(["logs", sys.argv[1]]) == 0
print(re.search(r"VmHWM:\s+(\d+)", open("/proc/self/status").read())[1], file=sys.stderr)
"""
"""The command, and its peak memory in KiB: getrusage(2) counts what was there before exec, too."""


def read(folder: Path, megabytes: int) -> tuple[list[int], int]:
    """Write a log with a report in each megabyte, and read it; return the victims and the reader's peak memory."""
    log, lines = folder / "kern.log", folder / "lines"
    with log.open("wb") as file:
        file.writelines(blocks(megabytes * MB, megabytes))
    assert log.stat().st_size >= megabytes * MB
    with lines.open("wb") as out:
        done = subprocess.run([sys.executable, "-c", READER, log], stdout=out, stderr=subprocess.PIPE, check=True)
    log.unlink()
    return [json.loads(line)["process"]["tid"] for line in lines.read_text().splitlines()], int(done.stderr.split()[-1])


def test_every_report_of_a_large_log_is_found_in_no_more_memory_than_of_a_small_one(tmp_path):
    few, small = read(tmp_path, 8)
    many, large = read(tmp_path, 64)

    assert few == list(range(FIRST_PID, FIRST_PID + 8))
    assert many == list(range(FIRST_PID, FIRST_PID + 64))
    assert large < small + 4096
