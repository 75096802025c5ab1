# SPDX-License-Identifier: Apache-2.0
"""The names of containers from a CRI runtime (containerd, CRI-O), over gRPC. The only module that imports grpc.

k8s.io/cri-api, pkg/apis/runtime/v1/api.proto: ListContainers without a filter. The few fields that matter are decoded
by hand, for generated stubs would bring the protobuf library.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from ooMtrace.enrich.container_names import Names
from ooMtrace.enrich.foreign_json import text
from ooMtrace.enrich.runtime_api import MAX_BODY, MAX_CONTAINERS, TIMEOUT_S, ApiError, first_socket

CRI_SOCKETS = (
    "run/containerd/containerd.sock",
    "run/k3s/containerd/containerd.sock",
    "run/crio/crio.sock",
    "run/cri-dockerd.sock",
)
METHOD = "/runtime.v1.RuntimeService/ListContainers"

CONTAINERS = 1  # of ListContainersResponse
ID, METADATA, IMAGE, LABELS = 1, 3, 4, 8  # of Container
NAME, ATTEMPT = 1, 2  # of ContainerMetadata
IMAGE_NAME = 1  # of ImageSpec
KEY, VALUE = 1, 2  # of an entry of a map

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
MAX_VARINT = 10
CONTINUES = 0x80

Field = tuple[int, "int | bytes"]


def is_installed() -> bool:
    """Return whether the library for gRPC is there: the optional extra `cri`."""
    return importlib.util.find_spec("grpc") is not None


def list_from_cri(paths: tuple[Path, ...], timeout_s: float = TIMEOUT_S) -> dict[str, Names]:
    """Return the containers of the first of these sockets that exists, by id; raises ApiError."""
    path = first_socket(paths)
    try:
        import grpc  # late: it takes 18 MB
    except ImportError as error:
        raise ApiError("grpcio is not installed") from error
    options = [("grpc.max_receive_message_length", MAX_BODY), ("grpc.enable_http_proxy", 0)]
    try:
        with grpc.insecure_channel(f"unix://{path.absolute()}", options) as channel:
            return parse_response(channel.unary_unary(METHOD)(b"", timeout=timeout_s))
    except grpc.RpcError as error:
        raise ApiError(str(error)) from error


def parse_response(response: bytes) -> dict[str, Names]:
    """Return the names in a ListContainersResponse; raises ApiError if it is none."""
    found: dict[str, Names] = {}
    for container in islice(_messages(response, CONTAINERS), MAX_CONTAINERS):
        id_ = _text(container, ID)
        if id_:
            found[id_] = _names(container)
    return found


def _names(container: bytes) -> Names:
    labels = {_text(entry, KEY): _text(entry, VALUE) for entry in _messages(container, LABELS)}
    metadata = next(_messages(container, METADATA), b"")
    # A number that is 0 is not sent.
    attempts = [value for number, value in _fields(metadata) if number == ATTEMPT and isinstance(value, int)]
    attempt = attempts[-1] if attempts else 0
    return Names(
        image=_text(next(_messages(container, IMAGE), b""), IMAGE_NAME),
        namespace=labels.get("io.kubernetes.pod.namespace"),
        pod=labels.get("io.kubernetes.pod.name"),
        pod_container=labels.get("io.kubernetes.container.name") or _text(metadata, NAME),
        restart_count=attempt if metadata and attempt < 1 << 31 else None,
    )


def _messages(message: bytes, number: int) -> Iterator[bytes]:
    return (value for found, value in _fields(message) if found == number and isinstance(value, bytes))


def _text(message: bytes, number: int) -> str | None:
    value = next(_messages(message, number), b"")
    return text(value.decode("utf-8", "replace"))


def _fields(message: bytes) -> Iterator[Field]:
    """Yield number and value of each field (protobuf.dev, Encoding); raises ApiError."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, at = _varint(message, at)
            yield number, value
            continue
        if kind == BYTES:
            size, at = _varint(message, at)
        elif kind in (FIXED64, FIXED32):
            size = 8 if kind == FIXED64 else 4
        else:
            raise ApiError("the answer is no protobuf message")
        if at + size > len(message):
            raise ApiError("the answer is cut off")
        yield number, message[at : at + size]
        at += size


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for nth, byte in enumerate(message[at : at + MAX_VARINT]):
        value |= (byte & ~CONTINUES) << (7 * nth)
        if not byte & CONTINUES:
            return value, at + nth + 1
    raise ApiError("the answer is cut off")
