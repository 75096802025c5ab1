# SPDX-License-Identifier: Apache-2.0
"""Delivers messages by HTTP POST; redirects are not followed."""

from __future__ import annotations

import http.client
import re
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from ooMtrace import __version__
from ooMtrace.errors import SinkError
from ooMtrace.output.sink import LaterError, RefusedError
from ooMtrace.output.stream_socket import described
from ooMtrace.output.tls import refusal

TIMEOUT_S = 10
MAX_RESPONSE = 64 << 10
OK = range(200, 300)
REFUSED = (400, 413, 415, 422)
"""Statuses about this message; all others are about the receiver or the way to it, and may change."""

Result = TypeVar("Result")

HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x20-\x7e\t]*)")


class HttpPost:
    """Posts messages over one connection, as long as the receiver keeps it.

    Args:
        name: The name for messages; the path may be a secret and is not part of it.
        connection: Not connected yet.
        path: Path and query.
        headers: Sent with each request.
        join: Makes a body of several messages; None: each has a request of its own.
        rejected: Returns how many messages of a request the body of a response says were rejected.
    """

    def __init__(
        self,
        name: str,
        connection: http.client.HTTPConnection,
        path: str,
        headers: Mapping[str, str],
        join: Callable[[Sequence[bytes]], bytes] | None = None,
        rejected: Callable[[bytes], int] = lambda _: 0,
    ) -> None:
        self.name = name
        self._connection = connection
        self._path = path
        self._headers = {"User-Agent": f"oomtrace/{__version__}", **headers}
        self._join = join
        self._rejected = rejected
        self._is_aborted = False

    def connect(self) -> None:
        """Connect, and verify the certificate, without sending anything."""
        if self._connection.sock is None:
            self._guarded(self._connection.connect)

    def send(self, messages: Sequence[bytes]) -> int:
        """Post the first message, or all that go into one request."""
        batch = messages if self._join else messages[:1]
        body = self._join(batch) if self._join else batch[0]
        status, reason, answer = self._post(body)
        if status in REFUSED:
            raise RefusedError(f"{self.name}: HTTP {status} {reason}", count=len(batch), of=len(batch))
        if status not in OK:
            raise LaterError(f"{self.name}: HTTP {status} {reason}")
        if count := min(self._rejected(answer), len(batch)):
            raise RefusedError(f"{self.name}: {count} of {len(batch)} records were rejected", count, len(batch))
        return len(batch)

    def abort(self) -> None:
        """End a request that waits for its answer; it is not sent again."""
        self._is_aborted = True
        connected = self._connection.sock
        if connected is not None:
            with suppress(OSError):
                connected.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _post(self, body: bytes) -> tuple[int, str, bytes]:
        was_connected = self._connection.sock is not None
        try:
            return self._guarded(lambda: self._request(body))
        except LaterError as error:
            if not was_connected or self._is_aborted or isinstance(error.__cause__, TimeoutError):
                raise
        return self._guarded(lambda: self._request(body))  # the receiver had closed the idle connection

    def _request(self, body: bytes) -> tuple[int, str, bytes]:
        self._connection.request("POST", self._path, body, self._headers)
        response = self._connection.getresponse()
        answer = response.read(MAX_RESPONSE)
        if not response.isclosed():  # there is more of it
            self._connection.close()
        return response.status, response.reason, answer

    def _guarded(self, action: Callable[[], Result]) -> Result:
        try:
            return action()
        except ssl.SSLError as error:
            self._connection.close()
            raise LaterError(refusal(self.name, error)) from error
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            fact = described(error, TIMEOUT_S) if isinstance(error, OSError) else "the answer is not HTTP"
            raise LaterError(f"{self.name}: {fact}") from error


def open_connection(host: str, port: int, context: ssl.SSLContext | None) -> http.client.HTTPConnection:
    """Return a connection, not connected yet; None: without TLS."""
    if context is None:
        return http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
    return http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=context)


def read_headers(name: str, path: str | None) -> dict[str, str]:
    """Return the headers in a file, one `Name: value` on each line; None: none.

    Raises:
        SinkError: It cannot be read, or a line is no header; the message does not repeat the line.
    """
    if path is None:
        return {}
    try:
        lines = Path(path).read_text("ascii").splitlines()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "has characters that are not ASCII"
        raise SinkError(f"{name}: {path}: {reason}", "header-file= takes a readable text file") from error
    headers: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        found = HEADER.fullmatch(line.strip())
        if found is not None:
            headers[found[1]] = found[2]
        elif line.strip():
            raise SinkError(f"{name}: {path}: line {number} is no header", "write one `Name: value` on each line")
    return headers
