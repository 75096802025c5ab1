# SPDX-License-Identifier: Apache-2.0
"""`oomtrace demo`: one harmless kill and its line, so that the operator may trust the silence afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace

from ooMtrace.commands import Say, options
from ooMtrace.commands.formats import outputs_format
from ooMtrace.errors import OomtraceError
from ooMtrace.kernel.scratch_cgroup import ScratchCgroup, scratch_cgroup
from ooMtrace.output.open import open_outputs
from ooMtrace.record import OomKill
from ooMtrace.runtime.pipeline import Tracer
from ooMtrace.runtime.poller import Poller
from ooMtrace.runtime.startup import attached

LIMIT = 32 << 20
TIMEOUT_S = 30
VICTIM = """
import contextlib, sys
sys.stdin.read(1)
with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "r+") as file:
    if int(file.read()) < 0:  # inherited: at -1000 the kernel would never kill it; raising it needs no privilege
        file.seek(0)
        file.write("0\\n")
try:
    hoard = bytearray(4 * int(sys.argv[1]))
except MemoryError:
    sys.exit(1)
"""


def run(arguments: Namespace, say: Say) -> int:
    """Kill one process of ours in a cgroup of ours and write its line; on a terminal, explain it.

    Raises:
        CannotTraceError: No level can be reached, or none as high as required.
        OomtraceError: No cgroup could be made, the line did not come, or an output did not take it.
    """
    with (
        # first: nothing is killed for an output that cannot be written
        closing(open_outputs(arguments.output or (), say, outputs_format(arguments, default="explain"))) as outputs,
        attached(options.settings(arguments), say, verbose=arguments.verbose) as tracer,
        Poller(tracer.fds) as poller,
        scratch_cgroup(f"oomtrace-demo-{os.getpid()}") as cgroup,
    ):
        say(f"killing a process of our own in {cgroup.folder}, limit {LIMIT >> 20} MiB")
        with _victim(cgroup) as pid:
            kill = _await_kill(tracer, poller, pid, cgroup)
        outputs.start(kill.fidelity)
        outputs.put(replace(kill, seq=1))
        outputs.drain(TIMEOUT_S)
        outputs.check_all_written(0)
    return 0


def _await_kill(tracer: Tracer, poller: Poller, pid: int, cgroup: ScratchCgroup) -> OomKill:
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline and not poller.stopped:
        for record in tracer.records():
            if isinstance(record, OomKill) and _is_ours(record, pid, cgroup):
                return record
        poller.wait(1000)
        if _has_exited(pid):
            raise OomtraceError("the victim cannot allocate memory", "raise the limit: ulimit -v unlimited")
    raise OomtraceError("the kill was not seen", "run `oomtrace doctor` and check the kernel log: dmesg")


def _has_exited(pid: int) -> bool:
    """Say whether a child has ended without being killed."""
    with suppress(ChildProcessError):
        state = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return state is not None and state.si_code == os.CLD_EXITED
    return False


def _is_ours(kill: OomKill, pid: int, cgroup: ScratchCgroup) -> bool:
    """Compare the cgroup if it is known: a container has other pids than the kernel, and sees less of the path."""
    memcg = kill.oom.memcg
    if memcg is not None and memcg.path is not None:
        return memcg.path.endswith(cgroup.path)
    return pid in (kill.process.pid, kill.process.tid)


@contextmanager
def _victim(cgroup: ScratchCgroup) -> Iterator[int]:
    """Start a process in the cgroup that allocates four times what is allowed; end it in any case."""
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
