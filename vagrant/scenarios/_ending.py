# SPDX-License-Identifier: Apache-2.0
"""At the end of the boot: the tracers are still there, have lost nothing, and go when they are told to."""

import os
import signal
import time
from pathlib import Path

from _stage import stage
from support.witness import KILLED


def main() -> None:
    """End the tracers, and look at what they and the kernel have said."""
    with stage() as on:
        for tracer in on.tracers.values():
            lines = [line for line in tracer.output.read_text().splitlines() if '"dropped_before"' in line]
            on.equal(f"{tracer.level}: lost", lines, [])
            status = Path(f"/proc/{tracer.pid()}/status").read_text()
            print(tracer.level, [line for line in status.splitlines() if line.startswith(("VmRSS", "VmHWM"))])
            os.kill(tracer.pid(), signal.SIGTERM)
            for _ in range(100):
                if not tracer._ready.exists():
                    break
                time.sleep(0.1)
            on.equal(f"{tracer.level}: ready file", tracer._ready.exists(), False)
            print(tracer.level, "said:", tracer.messages())
        log = os.popen("dmesg").read().splitlines()
        on.equal("kernel warnings", [line for line in log if "WARNING:" in line or "BUG:" in line], [])
        print(sum(1 for line in log if KILLED.search(line)), "kills in this boot")
