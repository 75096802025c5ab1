# SPDX-License-Identifier: Apache-2.0
"""Names from APIs: sockets that answer, that do not, or with something else; and a cache that no line waits for."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from support.probe_events import kill

from ooMtrace import record
from ooMtrace.enrich.api_names import PAUSE_S, RETRY_S, ApiNames, add_api_names, listers
from ooMtrace.enrich.container_names import Names
from ooMtrace.enrich.identity import add_identity
from ooMtrace.enrich.kubernetes_api import ACCOUNT, list_from_api, list_from_kubelet, parse_pods
from ooMtrace.enrich.runtime_api import (
    DOCKER_SOCKETS,
    MAX_BODY,
    MAX_CONTAINERS,
    ApiError,
    list_containers,
    parse_containers,
)
from ooMtrace.record import OomKill
from ooMtrace.settings import NAME_SOURCES

ID, OTHER = "a1" * 32, "b2" * 32
UID = "11111111-2222-3333-4444-555555555555"
LISTED = [{"Id": ID, "Names": ["/web"], "Image": "nginx:1.27", "Labels": {"io.kubernetes.pod.name": "web-0"}}]
POD_LIST = {
    "items": [
        {
            "metadata": {"name": "web-0", "namespace": "prod", "uid": UID},
            "status": {
                "containerStatuses": [
                    {"containerID": f"containerd://{ID}", "image": "app:3", "name": "worker", "restartCount": 3}
                ],
                "initContainerStatuses": [{"containerID": f"cri-o://{OTHER}", "name": "init"}],
            },
        }
    ]
}
IN_POD = Names(image="app:3", namespace="prod", pod="web-0", pod_container="worker", restart_count=3)

Handler = Callable[[socket.socket], None]


def answer(body: bytes, status: str = "200 OK", headers: str = "") -> Handler:
    def handle(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body)

    return handle


def endless(connection: socket.socket) -> None:
    """Send a body of 1 GB."""
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n")
    for _ in range(1024):
        connection.sendall(b" " * (1 << 20))


def dripping(connection: socket.socket) -> None:
    """Send a byte every 20 ms, each within the timeout of a system call."""
    connection.recv(65536)
    for byte in b"HTTP/1.1 200 OK\r\nX: " + b"x" * 4000:
        connection.sendall(bytes((byte,)))
        time.sleep(0.02)


def silent(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.recv(1)


class Server:
    """Serves each connection in a thread."""

    def __init__(self, listener: socket.socket, handle: Handler, context: ssl.SSLContext | None = None) -> None:
        self.requests = 0
        self._listener = listener
        self._handle = handle
        self._context = context
        listener.listen(16)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.requests += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            if self._context:
                connection = self._context.wrap_socket(connection, server_side=True)
            self._handle(connection)
        except OSError:
            pass
        finally:
            connection.close()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[Handler], tuple[Path, Server]]]:
    listeners: list[socket.socket] = []

    def start(handle: Handler, path: str = "docker.sock") -> tuple[Path, Server]:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(tmp_path / path))
        listeners.append(listener)
        return tmp_path / path, Server(listener, handle)

    yield start
    for listener in listeners:
        listener.close()


def wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_docker_and_podman_list_their_containers(serve):
    path, _ = serve(answer(json.dumps(LISTED).encode()))

    assert list_containers((path.with_name("none"), path)) == {
        ID: Names(container="web", image="nginx:1.27", pod="web-0")
    }


@pytest.mark.parametrize(
    "handle",
    [
        answer(b""),
        answer(b"{"),
        answer(b"\xff\xfe"),
        answer(b"[" * 100_000),
        answer(json.dumps(LISTED).encode(), "500 Internal Server Error"),
        answer(b"", "307 Temporary Redirect", "Location: http://localhost/other\r\n"),
        answer(b"", "200 OK", "X: " + "x" * 100_000 + "\r\n"),
        lambda connection: connection.sendall(b"\0garbage\r\n\r\n"),
        lambda connection: None,
        endless,
    ],
)
def test_what_is_no_list_is_an_error(serve, handle):
    path, server = serve(handle)

    with pytest.raises(ApiError):
        list_containers((path,), timeout_s=20)
    assert server.requests == 1


@pytest.mark.parametrize("handle", [silent, dripping])
def test_a_request_takes_no_longer_than_its_timeout(serve, handle):
    path, _ = serve(handle)
    begin = time.monotonic()

    with pytest.raises(ApiError):
        list_containers((path,), timeout_s=0.2)
    assert time.monotonic() - begin < 5


def test_without_a_socket_or_a_service_behind_it_there_is_an_error(tmp_path, serve):
    with pytest.raises(ApiError):
        list_containers((tmp_path / "none",))

    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "dead"))
    listener.close()
    with pytest.raises(ApiError):
        list_containers((tmp_path / "dead",))


@pytest.mark.parametrize("listed", [None, {}, [None], [[]], [{"Id": 7}], [{"Id": ""}], [{"Names": ["/web"]}]])
def test_entries_of_another_shape_are_left_out(listed):
    assert parse_containers(listed) == {}
    assert parse_pods(listed) == {}
    assert parse_pods({"items": listed}) == {}


def test_names_that_cannot_be_are_left_out():
    listed = [{"Id": ID, "Names": [], "Image": "a\x1b[31m", "Labels": {"io.kubernetes.pod.name": "x" * 300}}]

    assert parse_containers(listed) == {ID: Names()}
    assert len(parse_containers([{"Id": str(number)} for number in range(MAX_CONTAINERS + 5)])) == MAX_CONTAINERS


def test_a_pod_list_has_all_containers():
    assert parse_pods(POD_LIST) == {
        ID: IN_POD,
        OTHER: Names(namespace="prod", pod="web-0", pod_container="init"),
    }


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Callable[[Handler], int]]:
    """Start a service with TLS on the loopback interface, of which the service account knows the CA."""
    account = tmp_path / ACCOUNT
    account.mkdir(parents=True)
    (account / "token").write_text("secret\n")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    files = ["-keyout", str(tmp_path / "key.pem"), "-out", str(account / "ca.crt")]
    subprocess.run([*command, *names, *files], check=True, capture_output=True)
    listeners: list[socket.socket] = []

    def start(handle: Handler) -> int:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(account / "ca.crt", tmp_path / "key.pem")
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)
        Server(listener, handle, context)
        port: int = listener.getsockname()[1]
        return port

    yield start
    for listener in listeners:
        listener.close()


def recording(requests: list[bytes]) -> Handler:
    def handle(connection: socket.socket) -> None:
        requests.append(connection.recv(65536))
        body = json.dumps(POD_LIST).encode()
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    return handle


def test_the_api_server_is_asked_for_the_pods_of_this_node(tmp_path, cluster):
    requests: list[bytes] = []
    environment = {"NODE_NAME": "node-1", "KUBERNETES_SERVICE_HOST": "127.0.0.1"}
    port = str(cluster(recording(requests)))

    assert list_from_api({**environment, "KUBERNETES_SERVICE_PORT": port}, tmp_path, 10)[ID] == IN_POD
    assert requests[0].startswith(
        b"GET /api/v1/pods?fieldSelector=spec.nodeName%3Dnode-1&resourceVersion=0 HTTP/1.1\r\n"
    )
    assert b"\r\nAuthorization: Bearer secret\r\n" in requests[0]


def test_the_kubelet_is_asked_for_its_pods(tmp_path, cluster):
    requests: list[bytes] = []
    port = cluster(recording(requests))

    assert list_from_kubelet({"NODE_NAME": "localhost"}, tmp_path, 10, port)[ID] == IN_POD
    assert requests[0].startswith(b"GET /pods HTTP/1.1\r\n")


def test_the_token_is_not_sent_to_a_service_that_the_ca_has_not_signed(tmp_path, cluster):
    requests: list[bytes] = []
    port = cluster(recording(requests))
    other = tmp_path / "other"
    (other / ACCOUNT).mkdir(parents=True)
    (other / ACCOUNT / "token").write_text("secret")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x", "-keyout", os.devnull]
    subprocess.run([*command, "-out", str(other / ACCOUNT / "ca.crt")], check=True, capture_output=True)

    with pytest.raises(ApiError):
        list_from_kubelet({"NODE_NAME": "localhost"}, other, 10, port)
    assert requests == []


@pytest.mark.parametrize("node", ["", "a/b", "a\nb"])
def test_without_a_service_account_or_the_nodes_name_there_is_an_error(tmp_path, node):
    environment = {"KUBERNETES_SERVICE_HOST": "127.0.0.1"}
    for variables in (environment, {**environment, "NODE_NAME": node}, {**environment, "NODE_NAME": "node-1"}):
        with pytest.raises(ApiError):
            list_from_api(variables, tmp_path)
        with pytest.raises(ApiError):
            list_from_kubelet(variables, tmp_path)


def victim(path: str = f"/docker/{ID}") -> OomKill:
    return kill(cgroup=record.Cgroup(path=path, version=2))


def same(event: OomKill) -> OomKill:
    return event


def test_what_an_api_has_reported_is_in_the_line_and_leads_the_message():
    apis = ApiNames((lambda: {ID: IN_POD},))
    enrich = add_identity(add_api_names(same, apis))
    wait_for(lambda: apis._names)

    found = enrich(victim(f"/kubepods/burstable/pod{UID}/{ID}"))

    assert " in prod/web-0/worker was killed: " in found.message
    assert found.container == record.Container(id=ID, image=record.Image(name="app:3"))
    assert found.k8s is not None
    assert found.k8s.container == record.KubernetesContainer(name="worker", restart_count=3)


def test_what_a_file_has_stated_takes_precedence():
    def named(event: OomKill) -> OomKill:
        assert event.container is not None
        return replace(event, container=replace(event.container, name="web", image=record.Image(name="a")))

    apis = ApiNames((lambda: {ID: Names(container="other", image="b")},))
    enrich = add_identity(add_api_names(named, apis))
    wait_for(lambda: apis._names)

    assert enrich(victim()).container == record.Container(
        id=ID, runtime="docker", name="web", image=record.Image(name="a")
    )


@pytest.mark.parametrize(
    "path",
    [
        f"/docker/{OTHER}/docker/{ID}",
        f"/user.slice/user-1000.slice/user@1000.service/user.slice/docker-{ID}.scope",
        f"/system.slice/web.service/docker-{ID}.scope",
    ],
)
def test_an_id_that_may_be_made_up_gets_no_name_from_an_api(path):
    apis = ApiNames((lambda: {ID: IN_POD},))
    enrich = add_identity(add_api_names(same, apis))
    wait_for(lambda: apis._names)

    assert enrich(victim(path)).container == add_identity()(victim(path)).container


def test_an_unknown_container_is_asked_for_in_the_background_once_in_ten_seconds():
    now, asked = [0.0], []

    def lister() -> dict[str, Names]:
        asked.append(now[0])
        return {}

    apis = ApiNames((lister,), lambda: now[0])
    for _ in range(100):
        assert apis.find(ID) is None
    wait_for(lambda: asked == [0.0])

    now[0] = RETRY_S
    wait_for(lambda: not apis._apis[0].worker.is_busy())
    apis.find(ID)
    wait_for(lambda: asked == [0.0, RETRY_S])


def test_an_api_is_asked_once_a_second_and_after_a_failure_once_in_ten():
    now, asked = [0.0], []

    def lister() -> dict[str, Names]:
        asked.append(now[0])
        raise ApiError

    apis = ApiNames((lister,), lambda: now[0])
    for now[0] in (0.0, PAUSE_S / 2, PAUSE_S, RETRY_S - 1, RETRY_S):
        apis.find(f"{now[0]}")
        wait_for(lambda: not apis._apis[0].worker.is_busy())

    assert asked == [0.0, RETRY_S]


def test_a_bounded_number_of_containers_is_kept():
    apis = ApiNames((lambda: {str(number): Names() for number in range(MAX_CONTAINERS * 2)},))
    apis.refresh()
    wait_for(lambda: len(apis._names) == MAX_CONTAINERS)
    for number in range(MAX_CONTAINERS * 2):
        apis.find(f"x{number}")

    assert len(apis._asked) == MAX_CONTAINERS


def test_every_source_can_be_asked(tmp_path):
    assert len(listers(NAME_SOURCES, tmp_path, {})) == len(NAME_SOURCES)
    for lister in listers(NAME_SOURCES, tmp_path, {}):
        with pytest.raises(ApiError):
            lister()


def test_with_every_socket_unresponsive_lines_are_as_fast_as_without(tmp_path, serve):
    """Alternately with and without, so that a busy machine slows both."""
    for path in (*DOCKER_SOCKETS[:1], "run/podman/podman.sock"):
        serve(silent, path)
    asked = add_identity(add_api_names(same, ApiNames(listers(("docker", "podman"), tmp_path))))
    plain = add_identity(same)
    times: dict[Any, list[float]] = {asked: [], plain: []}
    for number in range(2000):
        event = victim(f"/docker/{number:064x}")
        for enrich, measured in times.items():
            begin = time.perf_counter()
            enrich(event)
            measured.append(time.perf_counter() - begin)

    assert median(times[asked]) < 10 * median(times[plain])
    assert MAX_BODY == 8 << 20
