# SPDX-License-Identifier: Apache-2.0
"""What /proc still says about the command of a victim that could not be read as it died."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ooMtrace.enrich import Enricher
from ooMtrace.enrich.timebox import Patient
from ooMtrace.kernel.cmdline import ARGUMENTS, Cmdline
from ooMtrace.kernel.cmdline import parse_cmdline as parse
from ooMtrace.record import OomKill

PATIENCE_S = 0.05
COMMANDS = ("process.title", "process.command_args")
OLD = COMMANDS[1]
"""Stands in `derived` if the arguments are those at exec."""


def add_proc_cmdline(proc: Path = Path("/proc")) -> Enricher:
    """Return an enricher that reads the command from /proc, where it is not known or only as it was at exec.

    That is a race with the victim's death, but those that could not be read are mostly the ones that cannot die. To
    read /proc/PID/cmdline the kernel takes the lock of the victim's memory, which one that sleeps for ever may hold.
    """
    patient = Patient("command", PATIENCE_S)

    def enrich(kill: OomKill) -> OomKill:
        process = kill.process
        known = process.title is not None or process.command_args is not None
        if process.pid is None or (known and OLD not in kill.derived):
            return kill
        found, folder = _Found(), proc / str(process.pid)
        patient.begin(lambda: _read(folder, process.tid, found))
        # Empty when the memory is gone; and the number may be somebody else's by now, who is not called the same.
        if not found.cmdline or found.comm != process.comm:
            return kill
        said = _parse(found.cmdline)
        truncated = [one for one in kill.truncated or () if one not in COMMANDS]
        if said.cut:
            truncated.append(COMMANDS[0] if said.title is not None else COMMANDS[1])
        return replace(
            kill,
            process=replace(process, title=said.title, command_args=said.args),
            derived=tuple(one for one in kill.derived if one != OLD),
            truncated=tuple(truncated) or None,
        )

    return enrich


def _parse(cmdline: bytes) -> Cmdline:
    # The kernel ends what it gives with a zero, but for a title that was written over that.
    return parse(cmdline[:ARGUMENTS], len(cmdline), 0 if cmdline.endswith(b"\0") or len(cmdline) > ARGUMENTS else 1)


class _Found:
    comm: str | None = None
    cmdline = b""


def _read(folder: Path, tid: int | None, found: _Found) -> None:
    try:
        comm = (folder / f"task/{tid}/comm").read_bytes().removesuffix(b"\n")
        with (folder / "cmdline").open("rb") as file:
            found.cmdline = file.read(ARGUMENTS + 1)
        found.comm = comm.decode("utf-8", "backslashreplace")
    except OSError:  # gone
        return
