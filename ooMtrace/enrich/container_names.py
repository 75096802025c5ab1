# SPDX-License-Identifier: Apache-2.0
"""The names of a container, from the files in which its runtime and the kubelet keep them. Reads only."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from itertools import islice
from pathlib import Path
from typing import Any

from ooMtrace.output.encode import load

DOCKER = "var/lib/docker/containers"
TASKS = tuple(
    f"{run}/io.containerd.runtime.v2.task/{namespace}"
    for run in ("run/containerd", "run/k3s/containerd", "var/snap/microk8s/common/run/containerd")
    for namespace in ("k8s.io", "default")
)
"""Directories of containerd's tasks: of a package, of k3s and RKE2, and of microk8s."""

STORAGE = "var/lib/containers/storage/overlay-containers"
"""Containers of podman and CRI-O."""

LOGS, POD_LOGS = "var/log/containers", "var/log/pods"

MAX_FILE = 1 << 20
MAX_ENTRIES = 4096
MAX_NAME = 255

LINK = re.compile(r"(?P<pod>[^_]+)_(?P<namespace>[^_]+)_(?P<pod_container>[^_]+)-(?P<id>[0-9a-f]{64})\.log")
"""kubelet/kuberuntime/legacy.go: names of Kubernetes have no underscore. A long name is cut, and then no match."""


@dataclass(frozen=True, slots=True)
class Names:
    """What a container is called; None where it is not known.

    Attributes:
        container: Name that the runtime knows.
        image: Name of the image.
        namespace: Kubernetes namespace.
        pod: Name of the pod.
        pod_container: Name of the container in the pod.
        restart_count: How often the kubelet has restarted that container.
    """

    container: str | None = None
    image: str | None = None
    namespace: str | None = None
    pod: str | None = None
    pod_container: str | None = None
    restart_count: int | None = None


def read_names(id_: str, root: Path = Path("/")) -> Names:
    """Return the names of a container; `root` is the host's file system.

    Each file states what it knows; where two state the same fact, the runtime's own file counts.
    """
    found = [reader(id_, root) for reader in (_docker, _containerd, _storage, _log_link)]
    return _merged(found)


def container_ids(root: Path = Path("/")) -> Iterator[str]:
    """Yield the ids of the containers that exist."""
    for folder in (DOCKER, *TASKS, STORAGE):
        yield from islice(_entries(root / folder), MAX_ENTRIES)


def _merged(found: list[Names]) -> Names:
    def first(name: str) -> Any:  # noqa: ANN401 (the type of that attribute)
        return next((value for names in found if (value := getattr(names, name)) is not None), None)

    return Names(**{attribute.name: first(attribute.name) for attribute in fields(Names)})


def _docker(id_: str, root: Path) -> Names:
    """Read config.v2.json: Docker's own, and the labels of cri-dockerd."""
    config = _load(root / DOCKER / id_ / "config.v2.json")
    labels = _get(config, "Config", "Labels")
    name = _text(_get(config, "Name"))
    return Names(
        container=name.removeprefix("/") if name else None,
        image=_text(_get(config, "Config", "Image")),
        namespace=_text(_get(labels, "io.kubernetes.pod.namespace")),
        pod=_text(_get(labels, "io.kubernetes.pod.name")),
        pod_container=_text(_get(labels, "io.kubernetes.container.name")),
        restart_count=_number(_get(labels, "annotation.io.kubernetes.container.restartCount")),
    )


def _containerd(id_: str, root: Path) -> Names:
    """Read the task's config.json with the annotations of containerd's CRI plugin."""
    for folder in TASKS:
        annotations = _get(_load(root / folder / id_ / "config.json"), "annotations")
        if annotations is not None:
            names = Names(
                image=_text(_get(annotations, "io.kubernetes.cri.image-name")),
                namespace=_text(_get(annotations, "io.kubernetes.cri.sandbox-namespace")),
                pod=_text(_get(annotations, "io.kubernetes.cri.sandbox-name")),
                pod_container=_text(_get(annotations, "io.kubernetes.cri.container-name")),
            )
            uid = _text(_get(annotations, "io.kubernetes.cri.sandbox-uid"))
            return _merged([names, Names(restart_count=_restart_count(names, uid, root))])
    return Names()


def _restart_count(names: Names, uid: str | None, root: Path) -> int | None:
    """Return the highest number of a log file in <namespace>_<pod>_<uid>/<container> (kuberuntime/helpers.go)."""
    if not (names.namespace and names.pod and names.pod_container and uid):
        return None
    parts = (f"{names.namespace}_{names.pod}_{uid}", names.pod_container)
    if any("/" in part or part == ".." for part in parts):
        return None
    found = (re.fullmatch(r"([0-9]{1,9})\.log", name) for name in _entries(root / POD_LOGS / parts[0] / parts[1]))
    return max((int(number[1]) for number in found if number), default=None)


def _storage(id_: str, root: Path) -> Names:
    """Read containers.json of podman and CRI-O, and the annotations of CRI-O."""
    listed = _load(root / STORAGE / "containers.json")
    entries = listed if isinstance(listed, list) else []
    entry = next((entry for entry in entries if _get(entry, "id") == id_), None)
    if entry is None:
        return Names()
    all_names, text = _get(entry, "names"), _get(entry, "metadata")
    metadata = _parse(text.encode()) if isinstance(text, str) else None
    annotations = _get(_load(root / STORAGE / id_ / "userdata/config.json"), "annotations")
    return Names(
        container=_text(all_names[0]) if isinstance(all_names, list) and all_names else None,
        image=_text(_get(metadata, "image-name")),
        namespace=_text(_get(annotations, "io.kubernetes.pod.namespace")),
        pod=_text(_get(annotations, "io.kubernetes.pod.name")),
        pod_container=_text(_get(annotations, "io.kubernetes.container.name")),
        restart_count=_number(_get(annotations, "io.kubernetes.container.restartCount")),
    )


def _log_link(id_: str, root: Path) -> Names:
    """Find the link of the container's log, <pod>_<namespace>_<container>-<id>.log."""
    names = (name for name in _entries(root / LOGS) if name.endswith(f"-{id_}.log"))
    found = next((match for name in names if (match := LINK.fullmatch(name))), None)
    if found is None:
        return Names()
    return Names(
        namespace=_text(found["namespace"]), pod=_text(found["pod"]), pod_container=_text(found["pod_container"])
    )


def _entries(folder: Path) -> Iterator[str]:
    """Yield the names in a directory, in no order; none if it cannot be read."""
    try:
        yield from islice((path.name for path in folder.iterdir()), MAX_ENTRIES)
    except OSError:  # another runtime
        return


def _load(path: Path) -> Any:  # noqa: ANN401 (any JSON)
    try:
        with path.open("rb") as file:
            return _parse(file.read(MAX_FILE))  # the part of a larger one is no JSON
    except OSError:  # another runtime, or the container is gone
        return None


def _parse(content: bytes) -> Any:  # noqa: ANN401
    try:
        return load(content)
    except ValueError:  # it is being written
        return None


def _get(value: Any, *keys: str) -> Any:  # noqa: ANN401
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _text(value: Any) -> str | None:  # noqa: ANN401
    """Return a name; None for what is none, or could not be one."""
    return value if isinstance(value, str) and 0 < len(value) <= MAX_NAME and value.isprintable() else None


def _number(value: Any) -> int | None:  # noqa: ANN401
    return int(value) if isinstance(value, str) and re.fullmatch("[0-9]{1,9}", value) else None
