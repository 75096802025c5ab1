# SPDX-License-Identifier: Apache-2.0
"""Kills as Events on the victims' pods, which `kubectl describe pod` shows: posted to the API server."""

from __future__ import annotations

import http.client
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from ooMtrace.errors import SinkError
from ooMtrace.output.encode import dump_line
from ooMtrace.output.http_post import REFUSED, HttpPost, open_connection
from ooMtrace.output.lines import Lines
from ooMtrace.output.sink import LaterError, RefusedError
from ooMtrace.output.subject import time_of
from ooMtrace.output.terminal import escape_control
from ooMtrace.output.tls import client_context
from ooMtrace.record import OomKill

ACCOUNT_HINT = "run it in a pod with a service account: automountServiceAccountToken: true"
NAMESPACE = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
POD = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")
TOKEN = re.compile(r"[\x21-\x7e]{1,65536}")
MAX_NAME, MAX_MESSAGE = 253, 1024
"""Characters: of the name of an object, and of what the API's newer group of Events allows as a note."""

BURST, REFILL_S, MAX_PODS = 25, 300, 1000
"""As the kubelet limits its own: 25 Events for a pod, then one in five minutes. So many pods are remembered."""

CREATED, NO_PERMISSION, NO_NAMESPACE = (200, 201, 202), (401, 403), 404
EXISTS = 409
"""The answer to an earlier attempt was lost."""

DELETED = b"NamespaceTerminating"
"""In the answer 403 of a namespace that is being deleted, and takes no new objects."""


class EventPost(HttpPost):
    """Posts Events, one after another, each to the namespace of its pod.

    Args:
        name: The name for messages.
        connection: To the API server, not connected yet.
        token: The file with the token of the service account, read for each request: the kubelet renews it.
    """

    def __init__(self, name: str, connection: http.client.HTTPConnection, token: Path) -> None:
        super().__init__(name, connection, "", {"Content-Type": "application/json", "Accept": "application/json"})
        self._token = token

    def send(self, messages: Sequence[bytes]) -> int:
        """Post the first Event; a message without one counts as delivered."""
        namespace, _, event = messages[0].partition(b"\n")
        if not event:
            return 1
        self._path = f"/api/v1/namespaces/{namespace.decode()}/events"
        self._headers["Authorization"] = f"Bearer {self._read_token()}"
        status, reason, answer = self._post(event)
        fact = f"{self.name}: HTTP {status} {reason}"
        if status in (*REFUSED, NO_NAMESPACE) or (status in NO_PERMISSION and DELETED in answer):
            raise RefusedError(fact, 0, 1)  # no line is missing for that
        if status in NO_PERMISSION:
            raise LaterError(f"{fact}: allow its service account to create events")
        if status not in (*CREATED, EXISTS):
            raise LaterError(fact)
        return 1

    def _read_token(self) -> str:
        try:
            return read_token(self._token)
        except (OSError, ValueError) as error:
            raise LaterError(f"{self.name}: {_unreadable(self._token, error)}") from error


def open_events(name: str, account: Path, environment: Mapping[str, str]) -> EventPost:
    """Return a transport to the API server of the pod that this is.

    Args:
        name: Of the output, for messages.
        account: The directory with `token` and `ca.crt` of the service account.
        environment: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are the API server.

    Raises:
        SinkError: This is no pod, or it has no service account.
    """
    host, port = environment.get("KUBERNETES_SERVICE_HOST", ""), environment.get("KUBERNETES_SERVICE_PORT", "443")
    if not re.fullmatch(r"[\w.:-]{1,253}", host, re.ASCII) or not re.fullmatch(r"[0-9]{1,5}", port, re.ASCII):
        raise SinkError(f"{name}: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are no address", ACCOUNT_HINT)
    try:
        read_token(account / "token")
    except (OSError, ValueError) as error:
        raise SinkError(f"{name}: {_unreadable(account / 'token', error)}", ACCOUNT_HINT) from error
    context = client_context(name, {"ca": str(account / "ca.crt")})
    return EventPost(name, open_connection(host, int(port), context), account / "token")


def read_token(path: Path) -> str:
    """Return the token in a file; raises OSError, or ValueError if it is none."""
    found = TOKEN.fullmatch(path.read_text("ascii").strip())
    if found is None:
        raise ValueError
    return found[0]


def _unreadable(path: Path, error: OSError | ValueError) -> str:
    return f"{path}: {error.strerror if isinstance(error, OSError) else 'is no token'}"


@dataclass(slots=True)
class _Pod:
    """How many Events a pod may still have.

    Attributes:
        allowed: Now; a fraction grows until the next one.
        at: When that was computed, in seconds of the clock.
        withheld: The kills since the last Event that had none.
    """

    allowed: float
    at: float
    withheld: int = 0


class EventRender:
    """Makes the Event of a kill, preceded by a line with its namespace; b"" if there is no pod, or it had too many.

    Args:
        clock: Returns seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._pods: OrderedDict[str, _Pod] = OrderedDict()

    def __call__(self, lines: Lines) -> bytes:
        """Return the message for a line."""
        record = lines.record
        if not isinstance(record, OomKill) or record.event != "oom_kill" or not record.k8s:
            return b""
        namespace, pod = record.k8s.namespace, record.k8s.pod.name
        if not (namespace and pod and NAMESPACE.fullmatch(namespace.name) and POD.fullmatch(pod)):
            return b""
        withheld = self._take(record.k8s.pod.uid)
        if withheld is None:
            return b""
        return namespace.name.encode() + b"\n" + dump_line(_event(record, namespace.name, pod, withheld))

    def _take(self, uid: str) -> int | None:
        """Return how many kills since the pod's last Event had none; None: this one has none, either."""
        now = self._clock()
        pod = self._pods.setdefault(uid, _Pod(BURST, now))
        self._pods.move_to_end(uid)
        if len(self._pods) > MAX_PODS:
            self._pods.popitem(last=False)
        pod.allowed, pod.at = min(BURST, pod.allowed + (now - pod.at) / REFILL_S), now
        if pod.allowed < 1:
            pod.withheld += 1
            return None
        pod.allowed -= 1
        withheld, pod.withheld = pod.withheld, 0
        return withheld


def _event(record: OomKill, namespace: str, pod: str, withheld: int) -> dict[str, object]:
    assert record.k8s is not None
    more = f"; {withheld} more kills in this pod since the last event" if withheld else ""
    digest = sha256(record.id.encode()).hexdigest()[:16]  # the same kill has the same name: it is created once
    node = record.k8s.node.name if record.k8s.node else record.host.name or ""
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{pod[: MAX_NAME - 1 - len(digest)].rstrip('-.')}.{digest}", "namespace": namespace},
        "involvedObject": {
            "apiVersion": "v1",
            "kind": "Pod",
            "namespace": namespace,
            "name": pod,
            "uid": record.k8s.pod.uid,
        },
        "type": "Warning",
        "reason": "OOMKilling",
        "message": escape_control(record.message, MAX_MESSAGE - len(more)) + more,
        "count": 1,
        "firstTimestamp": time_of(record),
        "lastTimestamp": time_of(record),
        "source": {"component": "oomtrace", "host": node},
        "reportingComponent": "oomtrace",
        "reportingInstance": node,
    }
