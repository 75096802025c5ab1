# SPDX-License-Identifier: Apache-2.0
"""Adds the names of the victim's container and pod, which are read as soon as the container appears."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from heapq import heappop, heappush
from pathlib import Path

from ooMtrace.enrich.cgroup_identity import parse_cgroup_path
from ooMtrace.enrich.container_names import Names, RuntimeFiles
from ooMtrace.enrich.name_cache import NameCache
from ooMtrace.enrich.name_reader import MAX_QUEUED, NameReader
from ooMtrace.kernel.cgroup_change import CgroupChange
from ooMtrace.kernel.clock import Clock
from ooMtrace.record import Container, Image, Kubernetes, KubernetesContainer, KubernetesNamespace, OomKill, Systemd

TIMEOUT_S = 0.05
"""A kill waits this long for its names: reading takes less than a millisecond, unless the disk is slow."""

RETRY_NS = (50_000_000, 500_000_000, 3_000_000_000)
"""A runtime may write its files after it has made the cgroup: they are looked for again after these times."""

ENGINE = re.compile(
    r"(?:containerd|docker|crio|kubelet|k3s|k3s-agent|rke2-server|rke2-agent|snap\.(?:microk8s|docker)\..+)\.service"
)
"""Services that make containers below their own cgroup. Below any other, its user may have chosen the names."""


class ContainerNames:
    """An enricher that adds the names of a container that the host's own runtime made.

    The path of a container in a container, or below a user's own systemd, may be made up to get the names of another
    one: for such an id nothing is read, neither when the cgroup appears nor at the kill.

    Args:
        root: The host's file system.
        timeout_s: How long a kill waits, in seconds.
        clock: What times are measured with.
    """

    def __init__(self, root: Path = Path("/"), *, timeout_s: float = TIMEOUT_S, clock: Clock = time) -> None:
        self._reader = NameReader(lambda: RuntimeFiles(root), NameCache(), timeout_s, clock)
        self._clock = clock
        self._retries: list[tuple[int, int, str]] = []
        """When to look again (CLOCK_MONOTONIC ns), how often that was done before, and the container."""
        self._reader.read_existing()

    def __call__(self, kill: OomKill) -> OomKill:
        """Return the kill with the names of its container."""
        container = kill.container
        if container is None or not is_of_host(container, kill.systemd):
            return kill
        names = self._reader.find(container.id)
        return kill if names is None else _with_names(kill, container, names)

    def observe(self, change: CgroupChange) -> None:
        """Read the names of a container that has appeared, in the background; note that one was removed."""
        identity = parse_cgroup_path(change.path)
        container = identity.container
        if container is None or not is_of_host(container, identity.systemd):
            return
        if container.id not in change.path.rpartition("/")[2]:  # a cgroup that the container has made
            return
        if change.removed:
            self._reader.mark_removed(container.id)
        else:
            self._read(container.id, 0)

    def next_due(self) -> int | None:
        """Return when `look_again` has something to do (CLOCK_MONOTONIC ns); None: not before the next change."""
        return self._retries[0][0] if self._retries else None

    def look_again(self) -> None:
        """Read the names that have not been found yet, of the containers for which it is time."""
        now = self._clock.monotonic_ns()
        while self._retries and self._retries[0][0] <= now:
            _, count, id_ = heappop(self._retries)
            if not self._reader.has(id_):
                self._read(id_, count + 1)

    def _read(self, id_: str, retries: int) -> None:
        self._reader.read(id_)
        if retries < len(RETRY_NS):
            heappush(self._retries, (self._clock.monotonic_ns() + RETRY_NS[retries], retries, id_))
            if len(self._retries) > MAX_QUEUED:
                heappop(self._retries)


def is_of_host(container: Container, systemd: Systemd | None) -> bool:
    """Say whether nobody but root on the host can have made up the id: no container around it, no user, no service."""
    if container.parents or container.runtime == "lxc":
        return False
    if systemd is None or systemd.unit is None:
        return systemd is None or systemd.user is None
    is_runtime = container.id in systemd.unit or ENGINE.fullmatch(systemd.unit) is not None
    return systemd.manager == "system" and is_runtime and systemd.user is None


def _with_names(kill: OomKill, container: Container, names: Names) -> OomKill:
    redacted = (*(kill.redacted or ()), "container.labels") if names.labels_redacted else kill.redacted
    return replace(
        kill,
        container=replace(
            container,
            runtime=container.runtime or names.runtime,
            name=names.container or container.name,
            image=Image(name=names.image) if names.image else None,
            labels=names.labels,
            pod=container.pod or names.sandbox,
        ),
        k8s=with_pod_names(kill.k8s, names) if kill.k8s else None,
        redacted=redacted,
    )


def with_pod_names(kubernetes: Kubernetes, names: Names) -> Kubernetes:
    """Return a pod with its name, and those of its namespace and of the container."""
    container = KubernetesContainer(name=names.pod_container, restart_count=names.restart_count)
    return replace(
        kubernetes,
        namespace=KubernetesNamespace(name=names.namespace) if names.namespace else None,
        pod=replace(kubernetes.pod, name=names.pod),
        container=container if names.pod_container else None,
    )
