# SPDX-License-Identifier: Apache-2.0
"""`oomtrace demo`: one harmless kill, and its line, so that the operator may trust the silence afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from ooMtrace.commands import Options, settings
from ooMtrace.errors import OomtraceError
from ooMtrace.kernel.scratch_cgroup import ScratchCgroup, scratch_cgroup
from ooMtrace.output.encode import encode
from ooMtrace.output.stream import StreamSink
from ooMtrace.record import OomKill
from ooMtrace.runtime.poller import Poller
from ooMtrace.runtime.startup import Say, attached

LIMIT = 32 << 20
PATIENCE_S = 30
VICTIM = "import sys; sys.stdin.read(1); hoard = bytearray(4 * int(sys.argv[1]))"


def run(options: Options, say: Say) -> int:
    """Kill one process of ours in a cgroup of ours and write its line; return the exit code.

    Raises:
        OomtraceError: No cgroup could be made, or the line did not come.
    """
    with (
        attached(settings(options), say, verbose=options.verbose) as tracer,
        Poller(tracer.fds) as waiter,
        scratch_cgroup(f"oomtrace-demo-{os.getpid()}") as cgroup,
    ):
        say(f"killing a process of our own in {cgroup.folder}, limit {LIMIT >> 20} MiB")
        with _victim(cgroup) as pid:
            deadline = time.monotonic() + PATIENCE_S
            while time.monotonic() < deadline and not waiter.stopped:
                for kill in tracer.records():
                    if isinstance(kill, OomKill) and _is_ours(kill, pid, cgroup):
                        StreamSink(options.output).write(encode(replace(kill, seq=1), pretty=options.pretty))
                        return 0
                waiter.wait(1000)
    raise OomtraceError("the kill was not seen", "run `oomtrace doctor` and look at the kernel log: dmesg")


def _is_ours(kill: OomKill, pid: int, cgroup: ScratchCgroup) -> bool:
    """Know it by its cgroup, if that is told: a container has other pids than the kernel, and sees less of the path."""
    memcg = kill.oom.memcg
    if memcg is not None and memcg.path is not None:
        return memcg.path.endswith(cgroup.path)
    return pid in (kill.process.pid, kill.process.tid)


@contextmanager
def _victim(cgroup: ScratchCgroup) -> Iterator[int]:
    """Start a process in the cgroup that takes four times what is allowed, and see it off."""
    cgroup.limit(LIMIT)
    command = [sys.executable, "-I", "-S", "-c", VICTIM, str(LIMIT)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as victim:
        try:
            cgroup.join(victim.pid)
            assert victim.stdin
            victim.stdin.write(b"!")
            victim.stdin.flush()
            yield victim.pid
        finally:
            victim.kill()
