# SPDX-License-Identifier: Apache-2.0
"""What user space adds to a SIGKILL: the same as to an OOM kill, and the sender's program, unit and container."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ooMtrace.enrich import Enricher, Enrichers, enriched
from ooMtrace.record import Cgroup, Executable, Oom, OomKill, Process, Sender, SenderContainer, Sigkill
from ooMtrace.record.message import describe_sigkill

SigkillEnricher = Callable[[Sigkill], Sigkill]


def sigkill_enricher(enrichers: Enrichers, *, host_pids: bool, proc: Path = Path("/proc")) -> SigkillEnricher:
    """Return an enricher for SIGKILLs that applies those of an OOM kill to the victim, and to the sender.

    Args:
        enrichers: Those of an OOM kill; the slow ones are left out.
        host_pids: Whether /proc lists processes by the pids in a record.
        proc: Root of the processes.
    """
    steps = (*enrichers.urgent, *enrichers.later)

    def enrich(sigkill: Sigkill) -> Sigkill:
        # The sender first: it is alive, but may be about to exit, as kill(1) is. The victim is gone by now, or will
        # be before its memory can be read.
        sender = _enrich_sender(sigkill, enrichers.sender, proc if host_pids else None)
        victim = enriched(_as_kill(sigkill, sigkill.process, sigkill.cgroup), steps)
        found = replace(sigkill, sigkill=replace(sigkill.sigkill, sender=sender))
        return replace(
            found,
            process=victim.process,
            namespace=victim.namespace,
            cgroup=victim.cgroup,
            container=victim.container,
            k8s=victim.k8s,
            # OOMPolicy= is about kills by the kernel
            systemd=replace(victim.systemd, oom_policy=None, stops_unit=None) if victim.systemd else None,
            scheduler=victim.scheduler,
            application=victim.application,
            job=victim.job,
            derived=victim.derived,
            truncated=victim.truncated,
            redacted=victim.redacted,
            withheld=victim.withheld,
            message=describe_sigkill(victim, sender, via_cgroup_kill=bool(found.sigkill.via_cgroup_kill)),
        )

    return enrich


def _as_kill(sigkill: Sigkill, process: Process, cgroup: Cgroup | None) -> OomKill:
    """Return an OOM kill with the facts that enrichers look at."""
    return OomKill(
        id=sigkill.id,
        time=sigkill.time,
        observed=sigkill.observed,
        message=sigkill.message,
        fidelity=sigkill.fidelity,
        derived=sigkill.derived,
        truncated=sigkill.truncated,
        host=sigkill.host,
        oom=Oom(incident=sigkill.sigkill.incident),
        process=process,
        namespace=sigkill.namespace,
        cgroup=cgroup,
    )


def _enrich_sender(sigkill: Sigkill, steps: tuple[Enricher, ...], proc: Path | None) -> Sender:
    sender = sigkill.sigkill.sender
    path = sender.cgroup
    if path is None and proc is not None:
        path = _cgroup_path(proc / str(sender.pid) / "cgroup")
    process = Process(pid=sender.pid, comm=sender.comm, user=sender.user)
    found = enriched(_as_kill(sigkill, process, Cgroup(path=path) if path else None), steps)
    return replace(
        sender,
        executable=_executable(proc, sender) if proc is not None else None,
        user=found.process.user,
        cgroup=path,
        unit=found.systemd.unit if found.systemd else None,
        container=SenderContainer(id=container.id, runtime=container.runtime, name=container.name)
        if (container := found.container)
        else None,
    )


def _executable(proc: Path, sender: Sender) -> Executable | None:
    """Return the program of a process that has the sender's name: its pid may have been reused."""
    folder = proc / str(sender.pid)
    try:
        comm = (folder / f"task/{sender.tid or sender.pid}/comm").read_bytes().removesuffix(b"\n")
        path = str((folder / "exe").readlink())
    except OSError:  # it has exited, or is a kernel thread
        return None
    if comm.decode("utf-8", "backslashreplace") != sender.comm:
        return None
    return Executable(path=path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"))


def _cgroup_path(file: Path) -> str | None:
    """Return a path of /proc/PID/cgroup that is not the root's: the memory cgroup's if there is one (cgroups(7))."""
    try:
        lines = file.read_bytes().decode("utf-8", "backslashreplace").split("\n")
    except OSError:
        return None
    entries = [entry for entry in (line.split(":", 2) for line in lines) if len(entry) == 3]  # noqa: PLR2004
    entries.sort(key=lambda entry: (entry[1] != "memory", entry[0] != "0"))
    return next((path for _, _, path in entries if path != "/"), None)
