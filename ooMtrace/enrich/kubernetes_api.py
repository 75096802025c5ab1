# SPDX-License-Identifier: Apache-2.0
"""The names of containers from the kubelet or the API server, with the service account of oomtrace's own pod."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ooMtrace.enrich.container_names import Names
from ooMtrace.enrich.foreign_json import get, text
from ooMtrace.enrich.runtime_api import TIMEOUT_S, ApiError, entries, fetch
from ooMtrace.kernel.regular_file import read_regular_file

ACCOUNT = "var/run/secrets/kubernetes.io/serviceaccount"
KUBELET_PORT = 10250
MAX_TOKEN = 64 << 10
STATUSES = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")


def list_from_kubelet(
    environment: Mapping[str, str], root: Path = Path("/"), timeout_s: float = TIMEOUT_S, port: int = KUBELET_PORT
) -> dict[str, Names]:
    """Return the containers of this node, as its kubelet knows them: NODE_NAME is its host; raises ApiError.

    It asks for /pods, which needs `nodes/pods` where the kubelet has fine-grained authorization.
    """
    return _list(_required(environment, "NODE_NAME"), port, "/pods", root, timeout_s)


def list_from_api(
    environment: Mapping[str, str], root: Path = Path("/"), timeout_s: float = TIMEOUT_S
) -> dict[str, Names]:
    """Return the containers of this node, as the API server knows them; raises ApiError. It needs to list `pods`."""
    node = quote(_required(environment, "NODE_NAME"), safe="")
    host = _required(environment, "KUBERNETES_SERVICE_HOST")
    port = environment.get("KUBERNETES_SERVICE_PORT", "443")
    # Version 0: from the API server's cache, which costs etcd nothing.
    target = f"/api/v1/pods?fieldSelector=spec.nodeName%3D{node}&resourceVersion=0"
    if not (port.isascii() and port.isdecimal()):
        raise ApiError("KUBERNETES_SERVICE_PORT is no number")
    return _list(host, int(port), target, root, timeout_s)


def _required(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name)
    if not value or not value.isprintable() or "/" in value:
        raise ApiError(f"the variable {name} is not set")
    return value


def _list(host: str, port: int, target: str, root: Path, timeout_s: float) -> dict[str, Names]:
    account = root / ACCOUNT
    try:
        # Read for each request: the kubelet renews it.
        token = read_regular_file(account / "token", MAX_TOKEN).decode("ascii").strip()
        context = ssl.create_default_context(cafile=str(account / "ca.crt"))
    except (OSError, ValueError) as error:
        raise ApiError(f"the service account cannot be read: {error}") from error
    connection = http.client.HTTPSConnection(host, port, timeout=timeout_s, context=context)
    headers = {"Authorization": f"Bearer {token}"}
    return parse_pods(fetch(connection, target, headers, timeout_s))


def parse_pods(answer: Any) -> dict[str, Names]:  # noqa: ANN401 (any JSON)
    """Return the names in a PodList; what has another shape is left out."""
    found: dict[str, Names] = {}
    for pod in entries(get(answer, "items")):
        for status in (status for kind in STATUSES for status in entries(get(pod, "status", kind))):
            # containerd://ID, cri-o://ID, docker://ID
            id_ = (text(get(status, "containerID")) or "").rpartition("://")[2]
            count = get(status, "restartCount")
            if id_:
                found[id_] = Names(
                    image=text(get(status, "image")),
                    namespace=text(get(pod, "metadata", "namespace")),
                    pod=text(get(pod, "metadata", "name")),
                    pod_container=text(get(status, "name")),
                    restart_count=count if type(count) is int and 0 <= count < 1 << 31 else None,
                )
    return found
