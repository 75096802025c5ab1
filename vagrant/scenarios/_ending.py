# SPDX-License-Identifier: Apache-2.0
"""At the end of the boot: the tracers still run, have lost nothing, and exit on SIGTERM."""

import os
import re
import signal
import time
from pathlib import Path

import support.tracer
from _scenario import scenario
from support.tracer import parsed
from support.witness import KILLED


def skipped(proc: Path) -> list[int]:
    """Return how often each of a process's programs was not run (bpf_prog_show_fdinfo(), since 5.12)."""
    info = [file.read_text() for file in (proc / "fdinfo").iterdir()]
    return [int(count) for text in info for count in re.findall(r"^recursion_misses:\t(\d+)$", text, re.MULTILINE)]


def main(*, repairs: bool = False) -> None:
    """Stop the tracers, and check their messages and the kernel's.

    Args:
        repairs: Whether a scenario of this boot has let the tracers miss kills.
    """
    with scenario() as run:
        for tracer in run.tracers.values():
            if not repairs:  # the lines of the whole boot, those between two scenarios as well
                found = support.tracer.repairs(parsed(tracer.output.read_bytes()), tracer.level)
                run.equal(f"{tracer.level}: missed", found, [])
            proc = Path(f"/proc/{tracer.pid()}")
            if tracer.level != "log":
                run.true(f"{tracer.level}: maps its counter", "anon_inode:bpf-map" in (proc / "maps").read_text())
                print(tracer.level, "programs not run, as another ran or a map was in use:", skipped(proc))
            status = (proc / "status").read_text()
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
