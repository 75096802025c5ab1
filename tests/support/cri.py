# SPDX-License-Identifier: Apache-2.0
"""A client of the Kubernetes Container Runtime Interface (runtime.v1), with messages encoded by hand.

Numbers of fields: kubernetes/cri-api, pkg/apis/runtime/v1/api.proto.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc

if TYPE_CHECKING:
    from typing_extensions import Self  # in typing from 3.11 on

SERVICE = "/runtime.v1.RuntimeService/"
TIMEOUT_S = 60
CONTAINER, NODE = 1, 2
"""NamespaceMode: of the container alone, or the host's. A pod's own network would need a CNI plugin."""

NAMESPACES = {1: NODE, 2: CONTAINER, 3: NODE}
"""NamespaceOption: network, pid, ipc."""

Message = Mapping[int, Any]
"""Number of a field -> int, str, message, map of strings, or a list of these."""


@dataclass(frozen=True, slots=True)
class Status:
    """ContainerStatus, and the pid from its verbose part."""

    name: str
    attempt: int
    image: str
    labels: dict[str, str]
    pid: int


class CriClient:
    """Use it as a context manager."""

    def __init__(self, socket: Path) -> None:
        self._channel = grpc.insecure_channel(f"unix:{socket}")
        self._sandboxes: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def start(
        self,
        uid: str,
        namespace: str,
        pod: str,
        name: str,
        attempt: int,
        image: str,
        command: Sequence[str],
        limit: int,
    ) -> str:
        """Start a pod of class Burstable with one container, as the kubelet does, and return the container's id."""
        labels = {
            "io.kubernetes.pod.uid": uid,
            "io.kubernetes.pod.namespace": namespace,
            "io.kubernetes.pod.name": pod,
        }
        sandbox = {
            1: {1: pod, 2: uid, 3: namespace},
            3: f"/var/log/pods/{namespace}_{pod}_{uid}",
            6: labels,
            8: {1: f"/kubepods/burstable/pod{uid}", 2: {1: NAMESPACES}},
        }
        container = {
            1: {1: name, 2: attempt},
            2: {1: image},
            3: list(command),
            9: {**labels, "io.kubernetes.container.name": name},
            10: {"io.kubernetes.container.restartCount": str(attempt)},
            11: f"{name}/{attempt}.log",
            15: {1: {4: limit, 5: 999, 10: limit}, 2: {3: NAMESPACES}},
        }
        sandbox_id = _text(self._call("RunPodSandbox", {1: sandbox}), 1)
        self._sandboxes.append(sandbox_id)
        id_ = _text(self._call("CreateContainer", {1: sandbox_id, 2: container, 3: sandbox}), 1)
        self._call("StartContainer", {1: id_})
        return id_

    def status(self, id_: str) -> Status:
        """Return what the runtime says of a container."""
        response = self._call("ContainerStatus", {1: id_, 2: 1})
        status = dict(_fields(_first(response, 1)))
        metadata = dict(_fields(status[2]))
        labels = {_text(entry, 1): _text(entry, 2) for number, entry in _fields(_first(response, 1)) if number == 12}
        info = json.loads(_text(_first(response, 2), 2))
        return Status(metadata[1].decode(), metadata.get(2, 0), _text(status[8], 1), labels, info["pid"])

    def remove_all(self) -> None:
        """Remove the pods that this client has started."""
        for id_ in self._sandboxes:
            self._call("StopPodSandbox", {1: id_})
            self._call("RemovePodSandbox", {1: id_})
        self._sandboxes.clear()

    def _call(self, method: str, message: Message) -> bytes:
        call = self._channel.unary_unary(SERVICE + method, request_serializer=None, response_deserializer=None)
        response: bytes = call(_encode(message), timeout=TIMEOUT_S, wait_for_ready=True)
        return response


def _encode(message: Message) -> bytes:
    return b"".join(_field(number, value) for number, value in message.items())


def _field(number: int, value: Any) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    if isinstance(value, list):
        return b"".join(_field(number, item) for item in value)
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return b"".join(_field(number, {1: key, 2: item}) for key, item in value.items())
    content = value.encode() if isinstance(value, str) else _encode(value)
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + _varint(rest) if rest else bytes([low])


def _fields(content: bytes) -> Iterator[tuple[int, Any]]:
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = content[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(content):
        tag = varint()
        value = varint()
        if tag & 7 == 2:
            yield tag >> 3, content[at : at + value]
            at += value
        else:
            yield tag >> 3, value


def _first(content: bytes, wanted: int) -> bytes:
    value: bytes = next(value for number, value in _fields(content) if number == wanted)
    return value


def _text(content: bytes, wanted: int) -> str:
    return _first(content, wanted).decode()
