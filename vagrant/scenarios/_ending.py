# SPDX-License-Identifier: Apache-2.0
"""At the end of the boot: the tracers still run, have lost nothing, and exit on SIGTERM."""

import os
import signal
import time
from pathlib import Path

from _scenario import scenario
from support.witness import KILLED


def main() -> None:
    """Stop the tracers, and check their messages and the kernel's."""
    with scenario() as run:
        for tracer in run.tracers.values():
            lines = [line for line in tracer.output.read_text().splitlines() if '"dropped_before"' in line]
            run.equal(f"{tracer.level}: lost", lines, [])
            status = Path(f"/proc/{tracer.pid()}/status").read_text()
            print(tracer.level, [line for line in status.splitlines() if line.startswith(("VmRSS", "VmHWM"))])
            os.kill(tracer.pid(), signal.SIGTERM)
            for _ in range(100):
                if not tracer._ready.exists():
                    break
                time.sleep(0.1)
            run.equal(f"{tracer.level}: ready file", tracer._ready.exists(), False)
            print(f"messages of level {tracer.level}:", tracer.messages())
        log = os.popen("dmesg").read().splitlines()
        run.equal("kernel warnings", [line for line in log if "WARNING:" in line or "BUG:" in line], [])
        print(sum(1 for line in log if KILLED.search(line)), "kills in this boot")
