# SPDX-License-Identifier: Apache-2.0
"""Adds the names of the victim's container and pod, read at the kill or when oomtrace started."""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

from ooMtrace.enrich import Enricher
from ooMtrace.enrich.container_names import Names, container_ids, read_names
from ooMtrace.enrich.timebox import TimeBoxedWorker
from ooMtrace.record import Container, Image, Kubernetes, KubernetesContainer, KubernetesNamespace, OomKill, Systemd

TIMEOUT_S = 0.05
"""A kill waits this long for its names: reading takes less than a millisecond, unless the disk is slow."""

MAX_CONTAINERS = 1000

ENGINE = re.compile(
    r"(?:containerd|docker|crio|kubelet|k3s|k3s-agent|rke2-server|rke2-agent|snap\.(?:microk8s|docker)\..+)\.service"
)
"""Services that make containers below their own cgroup. Below any other, its user may have chosen the names."""


class NameCache:
    """The names of containers, of those most recently seen.

    Args:
        root: The host's file system.
        timeout_s: How long `find` waits, in seconds.
    """

    def __init__(self, root: Path, timeout_s: float = TIMEOUT_S) -> None:
        self._root = root
        self._names: OrderedDict[str, Names] = OrderedDict()
        self._worker = TimeBoxedWorker("names", timeout_s)

    def fill(self) -> None:
        """Start to read the names of the containers that exist, in a thread; a slow disk delays nothing."""

        def read_all() -> None:
            for id_ in container_ids(self._root):
                self._read(id_)

        self._worker.run(read_all)

    def find(self, id_: str) -> Names:
        """Return the names of a container; unknown ones if they cannot be read in time."""
        if id_ not in self._names:
            self._worker.run(lambda: self._read(id_))
        return self._names.get(id_, Names())

    def _read(self, id_: str) -> None:
        names = read_names(id_, self._root)
        if names != Names():
            self._names[id_] = names
            while len(self._names) > MAX_CONTAINERS:
                self._names.popitem(last=False)


def add_names(root: Path = Path("/"), *, timeout_s: float = TIMEOUT_S) -> Enricher:
    """Return an enricher that adds the names of a container that the host's own runtime made.

    The path of a container in a container, or below a user's own systemd, may be made up to get the names of another
    one: their ids are not looked up.
    """
    cache = NameCache(root, timeout_s)
    cache.fill()

    def enrich(kill: OomKill) -> OomKill:
        container = kill.container
        if container is None or not _is_of_host(container, kill.systemd):
            return kill
        names = cache.find(container.id)
        return replace(kill, container=_container(container, names), k8s=_kubernetes(kill.k8s, names))

    return enrich


def _is_of_host(container: Container, systemd: Systemd | None) -> bool:
    """Say whether nobody but root on the host can have made up the id: no container around it, no user, no service."""
    if container.parents or container.runtime == "lxc":
        return False
    if systemd is None or systemd.unit is None:
        return systemd is None or systemd.user is None
    is_runtime = container.id in systemd.unit or ENGINE.fullmatch(systemd.unit) is not None
    return systemd.manager == "system" and is_runtime and systemd.user is None


def _container(container: Container, names: Names) -> Container:
    image = Image(name=names.image) if names.image else None
    return replace(container, name=names.container or container.name, image=image)


def _kubernetes(kubernetes: Kubernetes | None, names: Names) -> Kubernetes | None:
    if kubernetes is None:
        return None
    container = KubernetesContainer(name=names.pod_container, restart_count=names.restart_count)
    return replace(
        kubernetes,
        namespace=KubernetesNamespace(name=names.namespace) if names.namespace else None,
        pod=replace(kubernetes.pod, name=names.pod),
        container=container if names.pod_container else None,
    )
