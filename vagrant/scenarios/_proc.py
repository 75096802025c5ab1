# SPDX-License-Identifier: Apache-2.0
"""/proc as a witness: what it says of a victim before the kill, in the form of a line."""

from __future__ import annotations

import os
import re
import stat
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from _checks import CLOCK_ERROR_S, Equal
from _tolerances import at
from support.descriptors import KINDS
from support.tracer import Line

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
CREATION = "process.creation.time"
Facts = dict[str, Any]


def look(pid: int) -> Facts:
    """Return the facts of /proc about a process that does not end meanwhile, by their dotted names in a line.

    The time is in seconds since 1970, by the clock as it is now.
    """
    folder = Path(f"/proc/{pid}")
    status = _status(folder)
    parent = Path(f"/proc/{status['PPid']}")
    return {
        "process.pid": int(status["Tgid"]),
        "process.vpid": int(status["NSpid"].split()[-1]),
        "process.parent.pid": int(status["PPid"]),
        "process.parent.vpid": int(_status(parent)["NSpid"].split()[-1]),
        "process.parent.comm": (parent / "comm").read_text()[:-1],
        "process.user.id": int(status["Uid"].split()[0]),
        "process.threads": int(status["Threads"]),
        "process.oom_score_adj": int((folder / "oom_score_adj").read_text()),
        "process.executable.path": str((folder / "exe").readlink()),
        "process.working_directory": str((folder / "cwd").readlink()),
        "process.command_args": [os.fsdecode(argument) for argument in command_args(folder)],
        "cgroup.path": cgroup_path(folder),
        "namespace.hostname": os.uname().nodename,
        "namespace.pid_ns": str((folder / "ns/pid").stat().st_ino),
        "namespace.net_ns": str((folder / "ns/net").stat().st_ino),
        CREATION: started(folder),
        **{f"process.open_files.{kind}": count for kind, count in open_files(folder).items()},
    }


def command_args(folder: Path) -> list[bytes]:
    """Return the arguments of a process that has some.

    Popen returns when exec(2) closes the descriptors: /proc has none until the kernel has set them up after that
    (create_elf_tables()), so ask again.
    """
    path = folder / "cmdline"
    deadline = time.monotonic() + 5
    while not (found := path.read_bytes()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found[:-1].split(b"\0")


def _status(folder: Path) -> dict[str, str]:
    return dict(re.findall(r"^(\w+):\t(.*)$", (folder / "status").read_text(), re.MULTILINE))


def cgroup_path(folder: Path) -> str:
    """Return the path of a process's memory cgroup."""
    rows = [row.split(":", 2) for row in (folder / "cgroup").read_text().splitlines()]
    controllers = {controller: path for _, names, path in rows for controller in names.split(",")}
    return controllers.get("memory", controllers.get("", ""))


def started(folder: Path) -> float:
    """Return when a process started: field 22 of its stat counts ticks from the boot on, time in suspend included."""
    ticks = int((folder / "stat").read_text().rpartition(")")[2].split()[22 - 3])
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + ticks * TICK_S


def open_files(folder: Path) -> dict[str, int]:
    """Count the descriptors of a process by type; one that it closes meanwhile, as a loader does, is not counted."""
    counts = dict.fromkeys(["total", *KINDS.values()], 0)
    for descriptor in (folder / "fd").iterdir():
        with suppress(FileNotFoundError):
            counts[KINDS[stat.S_IFMT(descriptor.stat().st_mode)]] += 1
            counts["total"] += 1
    return counts


def check_proc(line: Line, facts: Facts, equal: Equal) -> None:
    """Compare a line with the facts that `look` has returned for its process; an arguments' title is none of them."""
    for name, fact in facts.items():
        if name != CREATION:
            equal(f"{name} as in /proc", at(line, name), fact)
        elif created := at(line, name):
            apart = datetime.fromisoformat(created).timestamp() - fact
            equal(f"{name}, {apart:+.3f} s from that of /proc", -CLOCK_ERROR_S < apart < TICK_S + CLOCK_ERROR_S, True)
        else:
            equal(name, created, fact)
