# SPDX-License-Identifier: Apache-2.0
"""Names from a CRI runtime: messages as protobuf encodes them, and a server with grpcio, if that is installed."""

from __future__ import annotations

import random
import socket
import time
from concurrent import futures
from pathlib import Path

import pytest

from ooMtrace.enrich import api_names, cri_api
from ooMtrace.enrich.api_names import listers
from ooMtrace.enrich.container_names import Names
from ooMtrace.enrich.cri_api import list_from_cri, parse_response
from ooMtrace.enrich.runtime_api import MAX_BODY, MAX_CONTAINERS, ApiError
from ooMtrace.errors import UsageError

ID = "a1" * 32
NEEDS_GRPC = pytest.mark.skipif(not cri_api.is_installed(), reason="needs the extra cri")


def varint(value: int) -> bytes:
    return bytes([value & 0x7F | 0x80]) + varint(value >> 7) if value > 0x7F else bytes([value])


def field(number: int, value: int | str | bytes) -> bytes:
    """Encode a field: a number as varint, anything else with its length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    content = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(content)) + content


def container(id_: str = ID, attempt: int = 3) -> bytes:
    """Encode a Container; with fields that are not decoded, too."""
    labels = {
        "io.kubernetes.pod.name": "web-0",
        "io.kubernetes.pod.namespace": "prod",
        "io.kubernetes.container.name": "worker",
    }
    metadata = field(1, "worker") + (field(2, attempt) if attempt else b"")
    parts = [field(1, id_), field(2, "sandbox"), field(3, metadata), field(4, field(1, "app:3")), field(6, 1)]
    parts += [field(7, 1 << 62), varint(15 << 3 | 5) + b"abcd", varint(16 << 3 | 1) + b"abcdefgh"]
    parts += [field(8, field(1, key) + field(2, value)) for key, value in labels.items()]
    return field(1, b"".join(parts))


IN_POD = Names(image="app:3", namespace="prod", pod="web-0", pod_container="worker", restart_count=3)


@pytest.mark.parametrize("attempt", [0, 3, 300])
def test_a_container_has_its_names_and_how_often_it_was_restarted(attempt):
    (names,) = parse_response(container(attempt=attempt)).values()

    assert names == Names(image="app:3", namespace="prod", pod="web-0", pod_container="worker", restart_count=attempt)


def test_an_empty_answer_has_no_containers_and_a_long_one_is_bounded():
    assert parse_response(b"") == {}
    assert parse_response(field(1, b"")) == {}
    assert (
        len(parse_response(b"".join(container(f"{number}") for number in range(MAX_CONTAINERS + 5)))) == MAX_CONTAINERS
    )


def test_an_answer_that_is_cut_off_is_an_error():
    with pytest.raises(ApiError):
        parse_response(container()[:-1])


def test_any_bytes_at_all_give_names_or_an_error():
    randomness = random.Random(6)
    whole = container() + container("b2" * 32)
    for _ in range(5000):
        damaged = bytearray(whole)
        for _ in range(randomness.randint(1, 4)):
            damaged[randomness.randrange(len(damaged))] = randomness.randrange(256)
        try:
            parse_response(bytes(damaged[: randomness.randint(0, len(damaged))]))
        except ApiError:
            continue


def test_without_a_socket_there_is_an_error(tmp_path):
    with pytest.raises(ApiError):
        list_from_cri((tmp_path / "none",))


def test_without_the_library_the_option_is_refused(monkeypatch):
    monkeypatch.setattr(api_names, "is_installed", lambda: False)

    with pytest.raises(UsageError, match="grpcio"):
        listers(("cri",))


def serve(path: Path, answer: bytes) -> object:
    """Serve ListContainers; the answer is sent as it is."""
    import grpc

    handler = grpc.unary_unary_rpc_method_handler(lambda *_: answer)
    server = grpc.server(futures.ThreadPoolExecutor(1))
    handlers = grpc.method_handlers_generic_handler("runtime.v1.RuntimeService", {"ListContainers": handler})
    server.add_generic_rpc_handlers((handlers,))
    server.add_insecure_port(f"unix://{path}")
    server.start()
    return server


@NEEDS_GRPC
def test_a_runtime_lists_its_containers(tmp_path):
    server = serve(tmp_path / "cri.sock", container())

    assert list_from_cri((tmp_path / "none", tmp_path / "cri.sock"), 20) == {ID: IN_POD}
    del server


@NEEDS_GRPC
@pytest.mark.parametrize("answer", [b"\xff" * 100, b" " * (MAX_BODY + 1)])
def test_garbage_and_an_answer_that_is_too_large_are_errors(tmp_path, answer):
    server = serve(tmp_path / "cri.sock", answer)

    with pytest.raises(ApiError):
        list_from_cri((tmp_path / "cri.sock",), 20)
    del server


@NEEDS_GRPC
def test_a_socket_that_does_not_answer_delays_a_request_by_no_more_than_the_timeout(tmp_path):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "cri.sock"))
    listener.listen(1)
    begin = time.monotonic()

    with pytest.raises(ApiError):
        list_from_cri((tmp_path / "cri.sock",), 0.2)
    assert time.monotonic() - begin < 5
    listener.close()
