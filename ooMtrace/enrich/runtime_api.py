# SPDX-License-Identifier: Apache-2.0
"""The names of containers from the API of Docker or podman, over a Unix socket. One request lists all of them."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any

from ooMtrace.enrich.container_names import Names
from ooMtrace.enrich.foreign_json import first_text, get, text
from ooMtrace.output.encode import load

TIMEOUT_S = 1.0
"""Of a whole request, however slowly the answer comes."""

AGAIN_S = 0.1

MAX_BODY = 8 << 20
MAX_CONTAINERS = 1000

DOCKER_SOCKETS = ("run/docker.sock", "var/run/docker.sock")
PODMAN_SOCKETS = ("run/podman/podman.sock",)
LIST = "/containers/json?all=1"
"""In all versions of Docker's API, and in what podman offers in its place."""


class ApiError(Exception):
    """The service does not answer, or not with what was asked for."""


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket; raises OSError."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def fetch(
    connection: http.client.HTTPConnection,
    target: str,
    headers: Mapping[str, str] | None = None,
    timeout_s: float = TIMEOUT_S,
) -> Any:  # noqa: ANN401 (any JSON)
    """Return the JSON that a GET request is answered with; redirects are not followed.

    Raises:
        ApiError: It fails, takes longer than the timeout, is larger than 8 MB or is no JSON.
    """
    # A timeout of the socket is that of each system call: a byte a second would make it wait for ever.
    done = Event()
    try:
        Thread(target=_shut_down_in_time, args=(connection, done, timeout_s), name="names-timeout", daemon=True).start()
        connection.request("GET", target, headers={"Accept": "application/json", **(headers or {})})
        response = connection.getresponse()
        if response.status != http.HTTPStatus.OK:
            raise ApiError(f"HTTP status {response.status}")
        body = response.read(MAX_BODY + 1)
        if len(body) > MAX_BODY:
            raise ApiError("the answer is too large")
        return load(body)
    except (OSError, http.client.HTTPException, ValueError, RuntimeError) as error:  # ValueError: no JSON
        raise ApiError(str(error) or type(error).__name__) from error
    finally:
        done.set()
        connection.close()


def _shut_down_in_time(connection: http.client.HTTPConnection, done: Event, timeout_s: float) -> None:
    while not done.wait(timeout_s):
        with suppress(OSError, AttributeError):  # AttributeError: not connected yet
            connection.sock.shutdown(socket.SHUT_RDWR)
        timeout_s = AGAIN_S


def list_containers(paths: tuple[Path, ...], timeout_s: float = TIMEOUT_S) -> dict[str, Names]:
    """Return the containers of the first of these sockets that exists, by id; raises ApiError."""
    return parse_containers(fetch(UnixConnection(first_socket(paths), timeout_s), LIST, timeout_s=timeout_s))


def first_socket(paths: tuple[Path, ...]) -> Path:
    """Return the first of these sockets that exists; raises ApiError."""
    path = next((path for path in paths if path.is_socket()), None)
    if path is None:
        raise ApiError("no socket")
    return path


def parse_containers(answer: Any) -> dict[str, Names]:  # noqa: ANN401 (any JSON)
    """Return the names in an answer to LIST; what has another shape is left out."""
    found: dict[str, Names] = {}
    for entry in entries(answer):
        id_ = text(get(entry, "Id"))
        name, labels = first_text(get(entry, "Names")), get(entry, "Labels")
        if id_:
            found[id_] = Names(
                container=name.removeprefix("/") if name else None,
                image=text(get(entry, "Image")),
                namespace=text(get(labels, "io.kubernetes.pod.namespace")),
                pod=text(get(labels, "io.kubernetes.pod.name")),
                pod_container=text(get(labels, "io.kubernetes.container.name")),
            )
    return found


def entries(answer: Any) -> Iterator[Any]:  # noqa: ANN401
    """Yield the entries of a list, no more than there is room for."""
    yield from answer[:MAX_CONTAINERS] if isinstance(answer, list) else []


Lister = Callable[[], "dict[str, Names]"]
"""Returns the names of all containers by id, within a second or two; raises ApiError."""
