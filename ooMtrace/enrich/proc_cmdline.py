# SPDX-License-Identifier: Apache-2.0
"""Title or arguments from /proc, of a victim whose memory could not be read when it died."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

from ooMtrace.enrich import Enricher
from ooMtrace.enrich.timebox import TimeBoxedWorker
from ooMtrace.kernel.clock import Clock
from ooMtrace.kernel.cmdline import ARGUMENTS, Cmdline, parse_cmdline
from ooMtrace.record import OomKill

TIMEOUT_S = 0.05
SLOW_S = 0.005
PAUSE = 9
"""After a read that took longer than SLOW_S, nothing is read for this many times as long: one who holds the locks of
his victims' memory would delay the lines of others with each of them."""

TITLE, ARGS = "process.title", "process.command_args"


def add_proc_cmdline(proc: Path = Path("/proc")) -> Enricher:
    """Return an enricher that reads title or arguments from /proc; see ProcCmdline."""
    return ProcCmdline(proc).enrich


class ProcCmdline:
    """Reads /proc/PID/cmdline where neither title nor arguments are known, or only the arguments at exec.

    This is a race with the victim's death, but most victims whose memory could not be read are those that cannot die.
    To read /proc/PID/cmdline the kernel takes the lock of the victim's memory, which a task that sleeps forever may
    hold: so it is read with a timeout.

    Args:
        proc: Root of the processes.
        timeout_s: How long a line waits for the answer, in seconds.
        clock: What that is measured with.
    """

    def __init__(self, proc: Path = Path("/proc"), timeout_s: float = TIMEOUT_S, clock: Clock = time) -> None:
        self._proc = proc
        self._clock = clock
        self._paused_until = 0
        self._worker = TimeBoxedWorker("cmdline", timeout_s)

    def enrich(self, kill: OomKill) -> OomKill:
        """Return the kill with what /proc says now; unchanged if that is nothing, or about another process."""
        process = kill.process
        if process.pid is None or not _is_wanted(kill):
            return kill
        answer, folder = _Answer(), self._proc / str(process.pid)
        began = self._clock.monotonic_ns()
        if began < self._paused_until:
            return kill
        self._worker.run(lambda: _read(folder, process.tid, answer))
        ended = self._clock.monotonic_ns()
        if ended - began > SLOW_S * 1e9:
            self._paused_until = ended + PAUSE * (ended - began)
        # Empty once the memory is gone. The pid may have been reused: another process has another name.
        if not answer.cmdline or answer.comm != process.comm:
            return kill
        return _with_cmdline(kill, _parse(answer.cmdline))


def _is_wanted(kill: OomKill) -> bool:
    """In `derived`, the arguments are those at exec: what was read in the victim's own context is no older."""
    is_known = kill.process.title is not None or kill.process.command_args is not None
    return not is_known or ARGS in kill.derived


def _with_cmdline(kill: OomKill, cmdline: Cmdline) -> OomKill:
    truncated = [name for name in kill.truncated or () if name not in (TITLE, ARGS)]
    if cmdline.cut:
        truncated.append(TITLE if cmdline.title is not None else ARGS)
    return replace(
        kill,
        process=replace(kill.process, title=cmdline.title, command_args=cmdline.args),
        derived=tuple(name for name in kill.derived if name != ARGS),
        truncated=tuple(truncated) or None,
    )


def _parse(cmdline: bytes) -> Cmdline:
    # The kernel ends its answer with a zero, except where a title overwrote that.
    is_terminated = cmdline.endswith(b"\0") or len(cmdline) > ARGUMENTS
    return parse_cmdline(cmdline[:ARGUMENTS], len(cmdline), 0 if is_terminated else 1)


@dataclass(slots=True)
class _Answer:
    comm: str | None = None
    cmdline: bytes = b""


def _read(folder: Path, tid: int | None, answer: _Answer) -> None:
    try:
        comm = (folder / f"task/{tid}/comm").read_bytes().removesuffix(b"\n")
        with (folder / "cmdline").open("rb") as file:
            answer.cmdline = file.read(ARGUMENTS + 1)
        answer.comm = comm.decode("utf-8", "backslashreplace")
    except OSError:  # the process is gone
        return
