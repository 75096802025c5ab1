# SPDX-License-Identifier: Apache-2.0
"""Which enrichers a kill passes through, and in which order."""

from __future__ import annotations

import os
from pathlib import Path

from ooMtrace.enrich import Enricher, Enrichers
from ooMtrace.enrich.identity import add_identity
from ooMtrace.enrich.jobs.match import add_job
from ooMtrace.enrich.kubernetes import add_kubernetes
from ooMtrace.enrich.names import ContainerNames
from ooMtrace.enrich.netns_addresses import NetnsAddresses
from ooMtrace.enrich.proc_cmdline import add_proc_cmdline
from ooMtrace.enrich.proc_status import add_proc_status
from ooMtrace.enrich.redact import redact, with_redacted_cmdline
from ooMtrace.enrich.services import add_services
from ooMtrace.enrich.unit_facts import UnitReader, add_unit_facts
from ooMtrace.enrich.user import add_user_name
from ooMtrace.kernel.cgroup_mounts import read_cgroup_mounts
from ooMtrace.settings import NameSource, Settings

NODE_NAME = "NODE_NAME"
"""Variable of oomtrace's own environment, which a DaemonSet sets from spec.nodeName."""


def enrichers(
    settings: Settings,
    *,
    host_pids: bool,
    proc: Path = Path("/proc"),
    run: Path = Path("/run"),
    root: Path = Path("/"),
) -> Enrichers:
    """Return the enrichers for a kill that was traced.

    The order matters. What is read from /proc comes first, for the victim is exiting. Titles and arguments are redacted
    before anything is derived from them: neither the name of a job nor the message must ever contain a secret.

    Args:
        settings: What a line may contain.
        host_pids: Whether /proc lists processes by the pids in a record. If not, it would describe other processes.
        proc: Root of the processes.
        run: Root of the names of network namespaces.
        root: Root of the files of container runtimes.
    """
    names = ContainerNames(root)
    all_names = _with_api_names(names, settings.names_from, root) if settings.names_from else names
    name_user, identify = add_user_name(), add_identity(all_names)
    read_proc = (add_proc_status(proc), *((add_proc_cmdline(proc),) if settings.cmdline != "none" else ()))
    return Enrichers(
        urgent=read_proc if host_pids else (),
        later=(
            name_user,
            add_services(settings.services),
            redact(cmdline=settings.cmdline),
            with_redacted_cmdline(add_job()) if settings.cmdline == "full" else add_job(),
            identify,
            add_kubernetes(os.environ.get(NODE_NAME)),
            add_unit_facts(UnitReader(root, read_cgroup_mounts(proc).v2)),
        ),
        slow=(NetnsAddresses(search=host_pids, proc=proc, run=run),) if settings.network else (),
        watcher=names,
        sender=(name_user, identify),
    )


def _with_api_names(names: Enricher, sources: tuple[NameSource, ...], root: Path) -> Enricher:
    from ooMtrace.enrich.api_names import ApiNames, add_api_names, listers  # late: HTTP and TLS take 3 MB

    return add_api_names(names, ApiNames(listers(sources, root)))


def backfill_enrichers() -> tuple[Enricher, ...]:
    """Return the enrichers for a kill that was read from the kernel log: its process has exited long ago."""
    return (add_user_name(), add_identity(), add_kubernetes(os.environ.get(NODE_NAME)))
