# SPDX-License-Identifier: Apache-2.0
"""Process and cgroup from /proc, of a victim whose kernel structures could not be read (level `minimal`)."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from ooMtrace.enrich import Enricher
from ooMtrace.record import Cgroup, OomKill, Parent, Process


def add_proc_status(proc: Path = Path("/proc")) -> Enricher:
    """Return an enricher that completes process and cgroup from /proc.

    This is a race with the victim's death, and often lost: then the facts are missing. The number of threads always is:
    they are exiting, so what /proc has by now is too low.
    """

    def enrich(kill: OomKill) -> OomKill:
        tid = kill.process.tid
        if kill.process.pid is not None or tid is None:
            return kill
        status = _status(proc / str(tid) / "status")
        name = status.get("Name")
        # The process is gone, and its pid may have been reused; older kernels' tracepoint has no name to compare with.
        if name is None or kill.process.comm not in (None, name):
            return kill
        if status.get("Tgid") == "0":  # it is being reaped and has no pids any more: release_task() in kernel/exit.c
            return kill
        cgroup = kill.cgroup or _cgroup(proc / str(tid) / "cgroup")
        return replace(kill, process=_process(kill.process, status, proc), cgroup=cgroup)

    return enrich


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8", "backslashreplace")
    except OSError:  # the process is gone
        return ""


def _lines(path: Path) -> list[str]:
    """Split at newlines only: names may hold anything else that str.splitlines() and text files take for an end."""
    return _read(path).split("\n")


def _status(path: Path) -> dict[str, str]:
    pairs = (line.partition(":") for line in _lines(path))
    status = {key: value.removeprefix("\t") for key, _, value in pairs}
    if "Name" in status:
        status["Name"] = _unescape(status["Name"])
    return status


def _unescape(name: str) -> str:
    """Undo the kernel's escapes for newline and backslash in a name (proc_task_name() in fs/proc/array.c)."""
    return re.sub(r"\\([\\n])", lambda escape: "\n" if escape[1] == "n" else "\\", name)


def _process(known: Process, status: dict[str, str], proc: Path) -> Process:
    parent_pid = _number(status.get("PPid"))
    parent = _status(proc / str(parent_pid) / "status")
    return replace(
        known,
        comm=status["Name"],
        pid=_number(status.get("Tgid")),
        vpid=_number(status.get("NStgid")),
        parent=Parent(pid=parent_pid, vpid=_number(parent.get("NStgid")), comm=parent.get("Name")),
    )


def _number(text: str | None) -> int | None:
    """Return the last number of a field: NStgid ends with the innermost namespace's."""
    found = re.search(r"(?<![^\t ])[0-9]{1,10}\Z", text or "")
    return int(found[0]) if found else None


def _cgroup(path: Path) -> Cgroup | None:
    """Parse /proc/PID/cgroup (cgroups(7)); on version 1 a dead task's path reads `/`, which says nothing."""
    split = (line.split(":", 2) for line in _lines(path))
    entries = [entry for entry in split if len(entry) == 3]  # noqa: PLR2004
    for hierarchy, controllers, cgroup in entries:
        if "memory" in controllers.split(",") and cgroup != "/":
            return Cgroup(path=cgroup, version=1)
        if hierarchy == "0" and len(entries) == 1:
            return Cgroup(path=cgroup.removesuffix(" (deleted)"), version=2)
    return None
