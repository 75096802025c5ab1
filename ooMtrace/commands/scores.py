# SPDX-License-Identifier: Apache-2.0
"""`oomtrace scores`: which processes the kernel would kill next, on the host and in each limited memory cgroup."""

from __future__ import annotations

import os
import shutil
import time
from argparse import Namespace
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from ooMtrace.commands import Say
from ooMtrace.errors import OomtraceError
from ooMtrace.explain.facts import clean
from ooMtrace.kernel.cgroup_mounts import Hierarchy, read_cgroup_mounts
from ooMtrace.kernel.snapshot import rfc3339, take_snapshot
from ooMtrace.output.encode import dump
from ooMtrace.output.stream import StreamSink
from ooMtrace.scores.domains import Domain, cgroup_domains, host_domain
from ooMtrace.scores.processes import Candidate, read_processes, read_pss
from ooMtrace.scores.table import Pss, explanation, plain, text

INTERVAL_S = 2
WIDE = 120
"""Columns where the output is no terminal."""

HOST_PID_NAMESPACE = 0xEFFFFFFC
"""Inode number of the initial pid namespace: PROC_PID_INIT_INO in include/linux/proc_ns.h."""

CLEAR = "\x1b[H\x1b[J"


class ScoresError(OomtraceError):
    """There is no such process or cgroup, or /proc cannot be read."""


def run(arguments: Namespace, say: Say) -> int:
    """Print the scores once, or again and again until Ctrl-C.

    Raises:
        ScoresError: There is nothing to show.
        OomtraceError: Changes of oom_score_adj cannot be traced.
    """
    if arguments.adj_changes:
        from ooMtrace.commands.adj_changes import trace_changes  # late: scores need no BPF

        return trace_changes(arguments, say, host_pids=_sees_all())
    if not _sees_all():
        say("processes outside this pid namespace are not seen; run it on the host to compare them all")
    with closing(StreamSink()) as sink:
        is_terminal = os.isatty(sink.fd)
        while True:
            shown = _show(arguments, shutil.get_terminal_size((WIDE, 0)).columns if is_terminal else WIDE)
            begin = CLEAR if arguments.watch and is_terminal and not arguments.json else ""
            sink.write(begin.encode() + shown)
            if not arguments.watch:
                return 0
            time.sleep(INTERVAL_S)
            if not is_terminal and not arguments.json:
                sink.write(b"\n")


def _show(arguments: Namespace, columns: int) -> bytes:
    """Return one look at the host, as text or JSON."""
    host = take_snapshot()
    hierarchy = read_cgroup_mounts().memory_hierarchy()
    processes = read_processes(host.page_size, hierarchy.version if hierarchy else None, host_pids=_sees_all())
    if not host.ram or not processes:
        raise ScoresError("/proc shows no memory or no processes", "mount -t proc proc /proc")
    whole = host_domain(host, processes)
    limited = cgroup_domains(hierarchy, host, processes) if hierarchy else []
    if arguments.pid is not None:
        process = _find(arguments.pid, processes)
        chosen = [domain for domain in (whole, *limited) if process in domain.processes]
        if not arguments.json:
            return explanation(process, chosen, host.page_size).encode("utf-8", "backslashreplace")
        chosen = [_only(domain, process) for domain in chosen]
    elif arguments.cgroup is not None:
        chosen = [_nearest(arguments.cgroup, limited, hierarchy)]
    else:
        chosen = [whole, *limited]
    pss = _pss(chosen, arguments.top) if arguments.pss else {}
    if arguments.json:
        domains = [plain(domain, arguments.top, pss) for domain in chosen]
        return dump({"time": rfc3339(host.realtime), "page_size": host.page_size, "domains": domains})
    return text(chosen, host.page_size, columns, arguments.top, pss).encode("utf-8", "backslashreplace")


def _find(pid: int, processes: Sequence[Candidate]) -> Candidate:
    found = next((process for process in processes if process.pid == pid), None)
    if found is None:
        raise ScoresError(f"there is no process {pid} that has memory", "see `oomtrace scores` for those that have")
    return found


def _only(domain: Domain, process: Candidate) -> Domain:
    return replace(domain, processes=(process,))


def _nearest(path: str, limited: Sequence[Domain], hierarchy: Hierarchy | None) -> Domain:
    """Return the domain of a cgroup: its own limit, or the nearest one above it."""
    wanted = "/" + (path.removeprefix(str(hierarchy.mount)) if hierarchy else path).strip("/")
    around = [one for one in limited if one.path and f"{wanted}/".startswith(f"{one.path}/")]
    if not around:
        fact = f"no memory cgroup with a limit and processes is at or above {clean(wanted)}"
        raise ScoresError(fact, "see `oomtrace scores` for those that are")
    return max(around, key=lambda one: len(one.path or ""))


def _pss(domains: Sequence[Domain], top: int) -> Pss:
    """Read the proportional set sizes of the processes that are shown: that walks all of their memory."""
    pids = {process.pid for domain in domains for process in domain.processes[: top or None]}
    return {pid: size for pid in sorted(pids) if (size := read_pss(pid)) is not None}


def _sees_all() -> bool:
    try:
        return Path("/proc/self/ns/pid").stat().st_ino == HOST_PID_NAMESPACE
    except OSError:
        return True
