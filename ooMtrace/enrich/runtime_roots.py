# SPDX-License-Identifier: Apache-2.0
"""The directories in which container runtimes keep the files of their containers, as packaged or as configured."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from ooMtrace.output.encode import load

DOCKER = ("var/lib/docker", "var/snap/docker/common/var-lib-docker")
"""Data directories of Docker: of a package and of its snap."""

CONTAINERD = ("run/containerd", "run/k3s/containerd", "run/k0s/containerd", "var/snap/microk8s/common/run/containerd")
"""State directories of containerd: of a package (also in a node of kind), of k3s, k3d and RKE2, of k0s, of microk8s."""

STORAGE = ("var/lib/containers/storage", "run/containers/storage")
"""Where podman and CRI-O keep containers, and those that do not survive a reboot."""

NAMESPACES = ("k8s.io", "default")
"""Namespaces of containerd: of Kubernetes, and of nerdctl and `ctr`."""

DRIVERS = ("overlay", "vfs", "btrfs", "zfs")

DAEMON_JSON = "etc/docker/daemon.json"
CONTAINERD_TOML = "etc/containerd/config.toml"
STORAGE_CONF = ("etc/containers/storage.conf", "usr/share/containers/storage.conf")

MAX_CONFIG = 64 << 10
MAX_ENTRIES = 4096
MAX_PATH = 255

REMAPPED = re.compile(r"[0-9]{1,10}\.[0-9]{1,10}")
"""Directory of a Docker daemon with userns-remap in its data directory: `UID.GID`."""


@dataclass(frozen=True, slots=True)
class RuntimeRoots:
    """Directories, most likely first; some may not exist.

    Attributes:
        docker: With a directory for each container of Docker.
        tasks: With a directory for each task of containerd.
        storage: With the list of the containers of podman and CRI-O, and a directory for each.
    """

    docker: tuple[Path, ...]
    tasks: tuple[Path, ...]
    storage: tuple[Path, ...]


def find_runtime_roots(root: Path) -> RuntimeRoots:
    """Return the runtimes' directories on the host whose file system is at `root`; a damaged configuration is ignored.

    Sources: the Docker daemon's daemon.json (`data-root`), containerd's config.toml (`state`), and storage.conf
    (`graphroot`). Options on a daemon's command line are not known.
    """
    data = [*_configured(root, _daemon_json(root)), *(root / path for path in DOCKER)]
    remapped = (path / name for path in data for name in entries(path) if REMAPPED.fullmatch(name))
    states = [*_configured(root, _toml(root / CONTAINERD_TOML, "", "state")), *(root / path for path in CONTAINERD)]
    graphs = [_toml(root / path, "storage", "graphroot") for path in STORAGE_CONF]
    storage = [*_configured(root, *graphs), *(root / path for path in STORAGE)]
    return RuntimeRoots(
        docker=_unique(path / "containers" for path in (*data, *remapped)),
        tasks=_unique(path / "io.containerd.runtime.v2.task" / name for path in states for name in NAMESPACES),
        storage=_unique(path / f"{driver}-containers" for path in storage for driver in DRIVERS),
    )


def entries(folder: Path) -> Iterator[str]:
    """Yield the names in a directory, in no order and at most MAX_ENTRIES; none if it cannot be read."""
    try:
        yield from islice((path.name for path in folder.iterdir()), MAX_ENTRIES)
    except OSError:  # another runtime
        return


def _configured(root: Path, *paths: Any) -> Iterator[Path]:  # noqa: ANN401 (anything that a file may have)
    for path in paths:
        if isinstance(path, str) and len(path) <= MAX_PATH and path.startswith("/") and path.isprintable():
            yield root / path.lstrip("/")


def _unique(paths: Iterator[Path]) -> tuple[Path, ...]:
    return tuple(dict.fromkeys(paths))


def _daemon_json(root: Path) -> Any:  # noqa: ANN401
    try:
        config = load(_read(root / DAEMON_JSON))
    except ValueError:
        return None
    return config.get("data-root") if isinstance(config, dict) else None


def _toml(path: Path, section: str, key: str) -> str | None:
    """Return a string in a TOML file. Python has a parser only since 3.11, and this needs no more of the language."""
    current = ""
    for line in _read(path).decode("utf-8", "replace").splitlines():
        if header := re.match(r"\s*\[+\s*([^\]]*?)\s*\]", line):
            current = header[1]
        elif current == section and (found := re.match(rf"\s*{key}\s*=\s*(?:\"([^\"]*)\"|'([^']*)')", line)):
            return found[1] if found[1] is not None else found[2]
    return None


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_CONFIG)
    except OSError:  # not configured
        return b""
