# SPDX-License-Identifier: Apache-2.0
"""The names of a container, from the files in which its runtime and the kubelet keep them. Reads only."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from itertools import islice
from pathlib import Path
from typing import Any

from ooMtrace.enrich.container_labels import select_labels
from ooMtrace.enrich.foreign_json import first_text, get, text
from ooMtrace.enrich.runtime_roots import MAX_ENTRIES, RuntimeRoots, entries, find_runtime_roots
from ooMtrace.output.encode import load

LOGS, POD_LOGS = "var/log/containers", "var/log/pods"

MAX_FILE = 1 << 20

ID = re.compile(r"[0-9a-f]{64}")

LINK = re.compile(r"(?P<pod>[^_]+)_(?P<namespace>[^_]+)_(?P<pod_container>[^_]+)-(?P<id>[0-9a-f]{64})\.log")
"""kubelet/kuberuntime/legacy.go: names of Kubernetes have no underscore. A long name is cut, and then no match."""

LISTS = ("containers.json", "volatile-containers.json")
"""Lists of containers/storage: of containers that survive a reboot, and of others, as of `podman run --rm`."""


@dataclass(frozen=True, slots=True)
class Names:
    """What a container is called; None where it is not known.

    Attributes:
        runtime: Whose file was found: `docker`, `containerd`, `podman` or `cri-o`.
        container: Name that the runtime knows.
        image: Name of the image.
        labels: Those of LABELS that the container has, without secrets.
        labels_redacted: Whether a secret in them was replaced.
        namespace: Kubernetes namespace.
        pod: Name of the pod.
        pod_container: Name of the container in the pod.
        sandbox: Id of the pod's sandbox in the runtime.
        restart_count: How often the kubelet has restarted that container.
    """

    runtime: str | None = None
    container: str | None = None
    image: str | None = None
    labels: Mapping[str, str] | None = None
    labels_redacted: bool = False
    namespace: str | None = None
    pod: str | None = None
    pod_container: str | None = None
    sandbox: str | None = None
    restart_count: int | None = None

    def is_known(self) -> bool:
        """Return whether a name was found: a file that is being written may have none yet."""
        return (self.container or self.image or self.pod) is not None


class RuntimeFiles:
    """The files of all runtimes of a host. What lists many containers is read again only when it has changed.

    Args:
        root: The host's file system.
        roots: The runtimes' directories in it; None: those that `find_runtime_roots` finds.
    """

    def __init__(self, root: Path = Path("/"), roots: RuntimeRoots | None = None) -> None:
        self._root = root
        self._roots = roots or find_runtime_roots(root)
        self._lists: dict[Path, tuple[object, dict[str, Any]]] = {}

    def read_names(self, id_: str) -> Names:
        """Return the names of a container.

        Each file states what it knows; where two state the same fact, the runtime's own file counts.
        """
        found = next((names for read in (self._docker, self._containerd, self._storage) if (names := read(id_))), None)
        if found and (found.pod or found.container):
            return found
        linked = self._listed(self._root / LOGS, _read_links).get(id_, Names())
        return _merged([found, linked]) if found else linked

    def container_ids(self) -> Iterator[str]:
        """Yield the ids of the containers that exist."""
        for folder in (*self._roots.docker, *self._roots.tasks, *self._roots.storage):
            yield from filter(ID.fullmatch, entries(folder))

    def forget_lists(self) -> None:
        """Release the memory that the lists take."""
        self._lists.clear()

    def _docker(self, id_: str) -> Names | None:
        """Read config.v2.json: Docker's own, and the labels of cri-dockerd."""
        config = _first(folder / id_ / "config.v2.json" for folder in self._roots.docker)
        if not isinstance(config, Mapping):
            return None
        labels = get(config, "Config", "Labels")
        name = text(get(config, "Name"))
        selected, redacted = select_labels(labels)
        return Names(
            runtime="docker",
            container=name.removeprefix("/") if name else None,
            image=text(get(config, "Config", "Image")),
            labels=selected,
            labels_redacted=redacted,
            namespace=text(get(labels, "io.kubernetes.pod.namespace")),
            pod=text(get(labels, "io.kubernetes.pod.name")),
            pod_container=text(get(labels, "io.kubernetes.container.name")),
            sandbox=text(get(labels, "io.kubernetes.sandbox.id")),
            restart_count=_number(get(labels, "annotation.io.kubernetes.container.restartCount")),
        )

    def _containerd(self, id_: str) -> Names | None:
        """Read the task's config.json with the annotations of containerd's CRI plugin or of nerdctl."""
        config = _first(folder / id_ / "config.json" for folder in self._roots.tasks)
        if not isinstance(config, Mapping):
            return None
        annotations = get(config, "annotations")
        selected, redacted = select_labels(annotations)
        names = Names(
            runtime="containerd",
            container=text(get(annotations, "nerdctl/name")),
            image=text(get(annotations, "io.kubernetes.cri.image-name")),
            labels=selected,
            labels_redacted=redacted,
            namespace=text(get(annotations, "io.kubernetes.cri.sandbox-namespace")),
            pod=text(get(annotations, "io.kubernetes.cri.sandbox-name")),
            pod_container=text(get(annotations, "io.kubernetes.cri.container-name")),
            sandbox=text(get(annotations, "io.kubernetes.cri.sandbox-id")),
        )
        uid = text(get(annotations, "io.kubernetes.cri.sandbox-uid"))
        return replace(names, restart_count=self._restart_count(names, uid))

    def _restart_count(self, names: Names, uid: str | None) -> int | None:
        """Return the highest number of a log file in <namespace>_<pod>_<uid>/<container> (kuberuntime/helpers.go)."""
        if not (names.namespace and names.pod and names.pod_container and uid):
            return None
        parts = (f"{names.namespace}_{names.pod}_{uid}", names.pod_container)
        if any("/" in part or part == ".." for part in parts):
            return None
        logs = entries(self._root / POD_LOGS / parts[0] / parts[1])
        found = (re.fullmatch(r"([0-9]{1,9})\.log", name) for name in logs)
        return max((int(number[1]) for number in found if number), default=None)

    def _storage(self, id_: str) -> Names | None:
        """Read the lists of podman and CRI-O, and the annotations of CRI-O."""
        paths = (folder / name for folder in self._roots.storage for name in LISTS)
        entry = next((found for path in paths if (found := self._listed(path, _read_list).get(id_))), None)
        if entry is None:
            return None
        packed = get(entry, "metadata")
        metadata = _parse(packed.encode()) if isinstance(packed, str) else None
        config = _first(folder / id_ / "userdata/config.json" for folder in self._roots.storage)
        annotations = get(config, "annotations")
        labels = get(annotations, "io.kubernetes.cri-o.Labels")
        selected, redacted = select_labels(_parse(labels.encode()) if isinstance(labels, str) else None, annotations)
        pod = text(get(annotations, "io.kubernetes.pod.name")) or text(get(metadata, "pod-name"))
        return Names(
            runtime="cri-o" if pod else "podman",
            container=first_text(get(entry, "names")),
            image=text(get(metadata, "image-name")),
            labels=selected,
            labels_redacted=redacted,
            namespace=text(get(annotations, "io.kubernetes.pod.namespace")),
            pod=text(get(annotations, "io.kubernetes.pod.name")),
            pod_container=text(get(annotations, "io.kubernetes.container.name")),
            sandbox=text(get(annotations, "io.kubernetes.cri-o.SandboxID")),
            restart_count=_number(get(annotations, "io.kubernetes.container.restartCount")),
        )

    def _listed(self, path: Path, read: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
        """Return id -> what a list of containers has, as it was read when the list was last changed."""
        try:
            status = path.stat()
        except OSError:  # another runtime
            return {}
        version = (status.st_mtime_ns, status.st_size, status.st_ino)
        known = self._lists.get(path)
        if known is None or known[0] != version:
            known = self._lists[path] = (version, read(path))
        return known[1]


def read_names(id_: str, root: Path = Path("/")) -> Names:
    """Return the names of a container; `root` is the host's file system."""
    return RuntimeFiles(root).read_names(id_)


def _merged(found: list[Names]) -> Names:
    def first(name: str) -> Any:  # noqa: ANN401 (the type of that attribute)
        return next((value for names in found if (value := getattr(names, name)) is not None), None)

    return Names(**{attribute.name: first(attribute.name) for attribute in fields(Names)})


def _read_list(path: Path) -> dict[str, Any]:
    """Read a list of containers/storage."""
    listed = _load(path)
    entries_ = listed if isinstance(listed, list) else []
    return {id_: entry for entry in islice(entries_, MAX_ENTRIES) if isinstance(id_ := get(entry, "id"), str)}


def _read_links(folder: Path) -> dict[str, Any]:
    """Read the links of logs, <pod>_<namespace>_<container>-<id>.log."""
    found = (match for name in entries(folder) if (match := LINK.fullmatch(name)))
    return {
        link["id"]: Names(
            namespace=text(link["namespace"]), pod=text(link["pod"]), pod_container=text(link["pod_container"])
        )
        for link in found
    }


def _first(paths: Iterator[Path]) -> Any:  # noqa: ANN401
    return next((content for path in paths if (content := _load(path)) is not None), None)


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


def _number(value: Any) -> int | None:  # noqa: ANN401
    return int(value) if isinstance(value, str) and re.fullmatch("[0-9]{1,9}", value) else None
