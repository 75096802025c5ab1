# SPDX-License-Identifier: Apache-2.0
"""What user space adds to a kill, and in which order."""

from __future__ import annotations

from ooMtrace.enrich import Enricher
from ooMtrace.enrich.jobs.match import add_job
from ooMtrace.enrich.netns_addresses import add_netns_addresses
from ooMtrace.enrich.proc_cmdline import add_proc_cmdline
from ooMtrace.enrich.proc_status import add_proc_status
from ooMtrace.enrich.redact import redact
from ooMtrace.enrich.services import add_services
from ooMtrace.enrich.user import add_user_name
from ooMtrace.settings import Settings


def enrichers(settings: Settings, *, host_pids: bool) -> tuple[Enricher, ...]:
    """Return the enrichers for a kill that was traced.

    The order matters: titles and arguments are redacted before anything is derived from them (a job's name must never
    carry a secret).

    Args:
        settings: What a line may contain.
        host_pids: Whether /proc lists processes by the host's pids. Where it does not, it would describe a stranger.
    """
    return (
        *((add_proc_status(),) if host_pids else ()),
        add_user_name(),
        *((add_proc_cmdline(),) if host_pids else ()),
        add_services(settings.services),
        redact(cmdline=settings.cmdline),
        add_job(),
        *((add_netns_addresses(search=host_pids),) if settings.network else ()),
    )


def backfill_enrichers() -> tuple[Enricher, ...]:
    """Return the enrichers for a kill that was read from the kernel log: its process is long gone."""
    return (add_user_name(),)
