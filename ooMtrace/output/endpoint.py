# SPDX-License-Identifier: Apache-2.0
"""Serves metrics over HTTP/1.1: one thread, which sleeps between requests, for a few clients at a time."""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from threading import Thread

from ooMtrace.errors import SinkError

MAX_REQUEST = 8 << 10
MAX_CLIENTS = 16
CLIENT_S = 5
"""How long a client has for its request and for reading the answer."""

PAUSE_S = 1
CLOSE_S = 1
TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Client:
    """One connection: a request, an answer, the end."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self.connection = connection
        self.deadline = time.monotonic() + CLIENT_S
        self._request = b""
        self.answer = b""

    def serve(self, text: Callable[[], bytes]) -> bool:
        """Read or write what is possible now; return whether there is more to do."""
        with suppress(BlockingIOError):
            if not self.answer:
                part = self.connection.recv(MAX_REQUEST)
                self._request += part
                if b"\r\n\r\n" in self._request or b"\n\n" in self._request:
                    self.answer = answer_to(self._request, text)
                elif not part or len(self._request) >= MAX_REQUEST:
                    return False
            if self.answer:
                self.answer = self.answer[self.connection.send(self.answer) :]
                return bool(self.answer)
        return True


class Endpoint:
    """Listens; a Queue in which nothing ever waits.

    Args:
        name: The name for messages.
        host: Address to listen on.
        port: TCP port; 0: any.
        text: Returns the metrics.

    Raises:
        SinkError: The address cannot be used.
    """

    def __init__(self, name: str, host: str, port: int, text: Callable[[], bytes]) -> None:
        self.name = name
        self.held = 0
        self._text = text
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self._listener = socket.create_server((host, port), family=family, backlog=MAX_CLIENTS)
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
            raise SinkError(f"{name}: {reason}", "choose another address or port") from error
        self._listener.setblocking(False)
        self._thread: Thread | None = None

    @property
    def port(self) -> int:
        """The port."""
        return int(self._listener.getsockname()[1])

    def start(self) -> None:
        """Start the thread; raises SinkError."""
        thread = Thread(target=self._run, name="metrics", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            raise SinkError(f"{self.name}: no thread can be started", "check the limits (ulimit -a)") from error
        self._thread = thread

    def put(self, message: bytes) -> bool:
        """Return True: metrics are read when a client asks for them."""
        del message
        return True

    def take_refused(self) -> int:
        """Return 0: nothing can be refused."""
        return 0

    def flush(self) -> None:
        """Do nothing: the thread serves."""

    def hurry(self) -> None:
        """Do nothing: nothing waits."""

    def blocked_fd(self) -> int | None:
        """Return None: nothing is to be polled."""
        return None

    def retry_ms(self) -> int | None:
        """Return None: there is nothing to retry."""
        return None

    def reopen(self) -> bool:
        """Go on listening."""
        return False

    def close(self) -> None:
        """End the thread and stop listening."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes up poll(2)
        if self._thread is not None:
            self._thread.join(CLOSE_S)
        self._listener.close()

    def _run(self) -> None:
        clients: dict[int, Client] = {}
        while True:
            poll = select.poll()
            poll.register(self._listener, select.POLLIN)
            for fd, client in clients.items():
                poll.register(fd, select.POLLOUT if client.answer else select.POLLIN)
            for fd, events in poll.poll(_timeout_ms(clients)):
                if fd != self._listener.fileno():
                    self._serve(clients, fd)
                elif events & ~select.POLLIN:
                    for client in clients.values():
                        client.connection.close()
                    return
                else:
                    self._accept(clients)
            _close_late(clients)

    def _accept(self, clients: dict[int, Client]) -> None:
        try:
            connection, _ = self._listener.accept()
        except BlockingIOError:  # it has gone again
            return
        except OSError:  # no file descriptors are left
            time.sleep(PAUSE_S)
            return
        if len(clients) >= MAX_CLIENTS:
            oldest = min(clients, key=lambda fd: clients[fd].deadline)
            clients.pop(oldest).connection.close()
        clients[connection.fileno()] = Client(connection)

    def _serve(self, clients: dict[int, Client], fd: int) -> None:
        client = clients.get(fd)
        if client is None:
            return
        try:
            goes_on = client.serve(self._text)
        except OSError:  # the client has gone
            goes_on = False
        if not goes_on:
            del clients[fd]
            client.connection.close()


def answer_to(request: bytes, text: Callable[[], bytes]) -> bytes:
    """Return the response to a request that is complete."""
    words = request.partition(b"\n")[0].split()
    if len(words) != 3 or not words[2].startswith(b"HTTP/1."):  # noqa: PLR2004 (method, target, version)
        return _response("400 Bad Request", b"not HTTP\n")
    if words[0] not in (b"GET", b"HEAD"):
        return _response("405 Method Not Allowed", b"use GET\n", "Allow: GET, HEAD\r\n")
    if words[1].partition(b"?")[0] != b"/metrics":
        return _response("404 Not Found", b"metrics are at /metrics\n")
    response = _response("200 OK", text())
    return response if words[0] == b"GET" else response.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"


def _response(status: str, body: bytes, more: str = "") -> bytes:
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {TYPE}\r\nContent-Length: {len(body)}\r\n{more}Connection: close\r\n\r\n"
    )
    return head.encode() + body


def _timeout_ms(clients: dict[int, Client]) -> int | None:
    if not clients:
        return None
    left = min(client.deadline for client in clients.values()) - time.monotonic()
    return max(0, int(left * 1000) + 1)


def _close_late(clients: dict[int, Client]) -> None:
    now = time.monotonic()
    for fd in [fd for fd, client in clients.items() if client.deadline <= now]:
        clients.pop(fd).connection.close()
