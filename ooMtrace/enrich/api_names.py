# SPDX-License-Identifier: Apache-2.0
"""Adds names that a runtime's or Kubernetes' API has reported. No line ever waits for an API."""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from threading import Lock

from ooMtrace.enrich import Enricher
from ooMtrace.enrich.container_names import Names
from ooMtrace.enrich.cri_api import CRI_SOCKETS, is_installed, list_from_cri
from ooMtrace.enrich.kubernetes_api import list_from_api, list_from_kubelet
from ooMtrace.enrich.names import is_of_host, with_pod_names
from ooMtrace.enrich.runtime_api import (
    DOCKER_SOCKETS,
    MAX_CONTAINERS,
    PODMAN_SOCKETS,
    ApiError,
    Lister,
    list_containers,
)
from ooMtrace.enrich.timebox import TimeBoxedWorker
from ooMtrace.errors import UsageError
from ooMtrace.record import Container, Image, Kubernetes, OomKill
from ooMtrace.settings import NameSource

PAUSE_S = 1.0
"""An API is asked no more often."""

RETRY_S = 10.0
"""An API that failed is asked again after this time, and any API for a container that was unknown."""


@dataclass(slots=True)
class _Api:
    """One API: who asks it, when it may be asked again, and what it has reported."""

    lister: Lister
    worker: TimeBoxedWorker
    ask_again: float = 0.0


class ApiNames:
    """Names that APIs have reported: what is not known yet is asked for in a thread, for the next kill.

    Of each API no more than one request is in flight, and none for ten seconds after one that failed.

    Args:
        listers: The APIs, the one that takes precedence first.
        clock: Monotonic time in seconds.
    """

    def __init__(self, listers: tuple[Lister, ...], clock: Callable[[], float] = time.monotonic) -> None:
        self._apis = tuple(_Api(lister, TimeBoxedWorker("names-api", 0)) for lister in listers)
        self._clock = clock
        self._names: OrderedDict[str, Names] = OrderedDict()
        self._asked: OrderedDict[str, float] = OrderedDict()
        self._lock = Lock()  # never held during a request

    def find(self, id_: str) -> Names | None:
        """Return the names of a container at once; None if they are not known, and are asked for now."""
        with self._lock:
            found = self._names.get(id_)
        now = self._clock()
        if found is None and now >= self._asked.get(id_, now):
            self._asked[id_] = now + RETRY_S
            if len(self._asked) > MAX_CONTAINERS:
                self._asked.popitem(last=False)
            self.refresh()
        return found

    def refresh(self) -> None:
        """Ask each API for all its containers, in a thread, unless it was asked just now or has failed lately."""
        now = self._clock()
        for api in self._apis:
            if now >= api.ask_again and not api.worker.is_busy():
                api.ask_again = now + PAUSE_S
                api.worker.run(partial(self._ask, api))

    def _ask(self, api: _Api) -> None:
        try:
            found = api.lister()
        except ApiError:
            api.ask_again = self._clock() + RETRY_S
            return
        with self._lock:
            for id_, names in found.items():
                self._names[id_] = names
                self._names.move_to_end(id_)
            while len(self._names) > MAX_CONTAINERS:
                self._names.popitem(last=False)


def listers(
    sources: tuple[NameSource, ...], root: Path = Path("/"), environment: Mapping[str, str] = os.environ
) -> tuple[Lister, ...]:
    """Return what asks these APIs; `root` is the host's file system.

    Raises:
        UsageError: The library for one of them is not installed.
    """
    if "cri" in sources and not is_installed():
        raise UsageError("--names-from cri needs grpcio, which is not installed", "install it, or leave the option out")
    known: dict[NameSource, Lister] = {
        "docker": lambda: list_containers(tuple(root / path for path in DOCKER_SOCKETS)),
        "podman": lambda: list_containers(tuple(root / path for path in PODMAN_SOCKETS)),
        "cri": lambda: list_from_cri(tuple(root / path for path in CRI_SOCKETS)),
        "kubelet": lambda: list_from_kubelet(environment, root),
        "api": lambda: list_from_api(environment, root),
    }
    return tuple(known[source] for source in sources)


def add_api_names(names: Enricher, apis: ApiNames) -> Enricher:
    """Return an enricher that adds what the APIs know and `names` does not; their containers are asked for now."""
    apis.refresh()

    def enrich(kill: OomKill) -> OomKill:
        kill = names(kill)
        container = kill.container
        if container is None or not is_of_host(container, kill.systemd):
            return kill
        found = apis.find(container.id)
        if found is None:
            return kill
        return replace(kill, container=_container(container, found), k8s=_kubernetes(kill.k8s, found))

    return enrich


def _container(container: Container, names: Names) -> Container:
    image = Image(name=names.image) if names.image else None
    return replace(container, name=container.name or names.container, image=container.image or image)


def _kubernetes(kubernetes: Kubernetes | None, names: Names) -> Kubernetes | None:
    if kubernetes is None or kubernetes.pod.name or not names.pod:
        return kubernetes
    return with_pod_names(kubernetes, names)
