# SPDX-License-Identifier: Apache-2.0
"""Where the victim belonged and whose limit was hit, from the paths of cgroups."""

from __future__ import annotations

from dataclasses import replace

from ooMtrace.enrich import Enricher
from ooMtrace.enrich.cgroup_identity import CgroupIdentity, parse_cgroup_path
from ooMtrace.record import LimitOwner, OomKill, Systemd
from ooMtrace.record.message import describe


def add_identity(names: Enricher | None = None) -> Enricher:
    """Return an enricher that adds the container, pod, unit, scheduler and application, and composes the message.

    It comes after all that the message states: redacted text, and the job.

    Args:
        names: Adds the names of container and pod, if they can be known.
    """

    def enrich(kill: OomKill) -> OomKill:
        own = _identity(kill)
        found = replace(
            kill,
            oom=replace(kill.oom, limit_owner=_limit_owner(kill)),
            container=own.container,
            k8s=own.k8s,
            systemd=own.systemd,
            scheduler=own.scheduler,
            application=own.application,
        )
        found = found if names is None else names(found)
        return replace(found, message=describe(found))

    return enrich


def _identity(kill: OomKill) -> CgroupIdentity:
    """Parse the path of the victim's memory cgroup and, where that says nothing, the path in version 2.

    On a version 1 hierarchy without MemoryAccounting=, systemd's units exist in its own hierarchy only.
    """
    own = parse_cgroup_path(_victim_path(kill) or "/")
    unified = kill.cgroup.v2.path if kill.cgroup and kill.cgroup.v2 else None
    if unified is None:
        return own
    other = parse_cgroup_path(unified)
    return CgroupIdentity(
        container=own.container or other.container,
        k8s=own.k8s or other.k8s,
        systemd=_systemd(own.systemd, other.systemd),
        scheduler=own.scheduler or other.scheduler,
        application=own.application or other.application,
    )


def _victim_path(kill: OomKill) -> str | None:
    """Return the victim's cgroup; where a log does not have it, the one that it must be in or below."""
    parts = (kill.cgroup, kill.oom.group, kill.oom.memcg)
    return next((part.path for part in parts if part is not None and part.path), None)


def _systemd(own: Systemd | None, other: Systemd | None) -> Systemd | None:
    has_unit = own is not None and own.unit is not None
    return own if has_unit else other or own


def _limit_owner(kill: OomKill) -> LimitOwner | None:
    if kill.oom.scope == "global":
        return "node"
    path = kill.oom.memcg.path if kill.oom.scope == "memcg" and kill.oom.memcg else None
    return parse_cgroup_path(path).owner if path else None
