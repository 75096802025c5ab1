# SPDX-License-Identifier: Apache-2.0
"""A tracer starts with the programs that another one has compiled, and without the compiler."""

import os
import re
import signal
import time
from pathlib import Path

from _scenario import scenario
from support.tracer import RunningTracer

CACHE = Path("/var/cache/oomtrace")


def files() -> dict[str, int]:
    """Return name -> inode number of the cached programs: a file that is compiled again is another one."""
    return {path.name: path.stat().st_ino for path in CACHE.glob("*.bpf")}


with scenario() as run:
    folder = Path(os.environ["OUT"])
    for level in ("full", "reduced"):
        known, began = files(), time.monotonic()
        (folder / "ready").unlink(missing_ok=True)
        with RunningTracer(folder, "--level", level, "--require", level, output=folder / level) as tracer:
            print(f"tracer {level}: ready after {time.monotonic() - began:.1f} s", flush=True)
            maps = Path(f"/proc/{tracer.process.pid}/maps").read_text()
            run.equal("the compiler's mappings", re.findall(r"/lib(?:LLVM|clang|bcc\.so)\S*", maps), [])
            victim = run.victim("hog", run.cgroup(24)).go()
            run.equal("status", victim.end(), -signal.SIGKILL)
            (line,) = tracer.lines_of([victim.pid])
            run.equal("level", line["fidelity"], level)
            run.equal("victim", line["oom"]["verdict"], "killed")
            run.equal("messages about the cache", re.findall("cache.*", tracer.messages()), [])
        if known:  # not in a demonstration on a host without any
            run.equal("cached programs", files(), known)
