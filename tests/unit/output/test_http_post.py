# SPDX-License-Identifier: Apache-2.0
"""POST requests to receivers that close connections, do not answer, or answer something else."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from support.receivers import wait_for

from ooMtrace import __version__
from ooMtrace.errors import SinkError
from ooMtrace.output import http_post
from ooMtrace.output.http_post import HttpPost, open_connection, read_headers
from ooMtrace.output.sink import LaterError, RefusedError

NO_CONTENT = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Peer:
    """Reads one request of each connection, answers it, and closes the connection if that is what the test wants."""

    def __init__(self, answer: bytes = NO_CONTENT, *, closes: bool = False) -> None:
        self.answer, self.closes = answer, closes
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self.ended = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.connections: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self.listener.getsockname()[1])

    def close(self) -> None:
        with suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        for each in (self.listener, *self.connections):
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                self.connections.append(connection)
                threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError):
            request = b""
            while b"\r\n\r\n" not in request:
                if not (part := connection.recv(1 << 16)):
                    return
                request += part
            head, _, body = request.partition(b"\r\n\r\n")
            while len(body) < int(head.lower().partition(b"content-length: ")[2].split()[0]):
                body += connection.recv(1 << 16)
            self.heads.append(head)
            self.bodies.append(body)
            connection.sendall(self.answer)
            if self.closes:
                connection.close()
        with suppress(OSError):
            connection.recv(1)
        self.ended += 1


@pytest.fixture
def peer() -> Iterator[Peer]:
    started = Peer()
    yield started
    started.close()


def post_to(port: int, join: Callable[..., bytes] | None = None, rejected: int = 0) -> HttpPost:
    connection = open_connection("127.0.0.1", port, None)
    return HttpPost("hook", connection, "/secret", {"X": "y"}, join, lambda _: rejected)


def test_a_request_has_the_path_the_headers_and_one_message(peer):
    post = post_to(peer.port)

    assert post.send([b"a", b"b"]) == 1
    method, *headers = peer.heads[0].decode().split("\r\n")
    assert method == "POST /secret HTTP/1.1"
    assert {f"User-Agent: oomtrace/{__version__}", "X: y"} <= set(headers)
    assert peer.bodies == [b"a"]
    assert peer.ended == 0
    post.close()
    wait_for(lambda: peer.ended == 1)


def test_a_receiver_that_is_not_there_is_known_before_the_first_message():
    with socket.socket() as bound:  # not listening
        bound.bind(("127.0.0.1", 0))
        with pytest.raises(LaterError, match=r"^hook: Connection refused$"):
            post_to(bound.getsockname()[1]).connect()


def test_a_connection_that_the_receiver_has_closed_is_opened_again_without_a_message(peer):
    peer.closes = True
    post = post_to(peer.port)
    post.connect()

    assert [post.send([body]) for body in (b"a", b"b", b"c")] == [1, 1, 1]
    assert peer.bodies == [b"a", b"b", b"c"]


def test_a_request_that_is_not_answered_is_not_sent_again_at_once(peer, monkeypatch):
    monkeypatch.setattr(http_post, "TIMEOUT_S", 0.3)
    peer.answer = b""
    post = post_to(peer.port)
    post.connect()
    with pytest.raises(LaterError, match=r"^hook: no answer within 0.3 s$"):
        post.send([b"a"])

    wait_for(lambda: bool(peer.bodies))
    assert peer.bodies == [b"a"]


def test_a_request_that_is_ended_while_it_waits_is_not_sent_again(peer, monkeypatch):
    monkeypatch.setattr(http_post, "TIMEOUT_S", 90)
    peer.answer = b""
    post, said = post_to(peer.port), list[str]()

    def send() -> None:
        with pytest.raises(LaterError) as caught:
            post.send([b"a"])
        said.append(str(caught.value))

    post.connect()
    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    wait_for(lambda: bool(peer.bodies))
    post.abort()
    thread.join(20)

    assert not thread.is_alive()
    assert said == ["hook: Remote end closed connection without response"]
    assert peer.bodies == [b"a"]


def test_nothing_is_ended_where_nothing_is_connected(peer):
    post_to(peer.port).abort()


def test_an_answer_that_is_too_long_to_read_ends_the_connection(peer):
    peer.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 100_000
    post = post_to(peer.port)

    assert post.send([b"a"]) == 1
    wait_for(lambda: peer.ended == 1)
    peer.answer = NO_CONTENT
    assert post.send([b"b"]) == 1
    assert peer.bodies == [b"a", b"b"]
    post.close()


def test_an_answer_that_is_not_http_is_reported_as_that(peer):
    peer.answer = b"220 mail.example ESMTP\r\n"
    with pytest.raises(LaterError, match=r"^hook: the answer is not HTTP$"):
        post_to(peer.port).send([b"a"])


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        *((status, None) for status in (200, 204, 299)),
        *((status, LaterError) for status in (300, 302, 401, 404, 408, 429, 500, 503)),
        *((status, RefusedError) for status in (400, 413, 415, 422)),
    ],
)
def test_a_status_says_whether_a_message_was_taken_or_is_sent_later_or_never(peer, status, expected):
    peer.answer = b"HTTP/1.1 %d Reason\r\nContent-Length: 0\r\n\r\n" % status
    post = post_to(peer.port)
    if expected is None:
        assert post.send([b"a"]) == 1
    else:
        with pytest.raises(expected, match=f"^hook: HTTP {status} Reason"):
            post.send([b"a"])
    post.close()

    assert peer.bodies == [b"a"]


@pytest.mark.parametrize(("rejected", "count"), [(1, 1), (2, 2), (9, 2)])
def test_no_more_messages_are_rejected_than_a_request_has(peer, rejected, count):
    post = post_to(peer.port, b",".join, rejected)
    with pytest.raises(RefusedError, match=f"^hook: {count} of 2 records were rejected") as caught:
        post.send([b"a", b"b"])

    assert (caught.value.count, caught.value.of) == (count, 2)
    assert peer.bodies == [b"a,b"]
    post.close()


def test_headers_are_read_without_the_space_around_them(tmp_path):
    (tmp_path / "headers").write_text("  Authorization: Bearer x y \n\nX-Empty:\nX-Tab:\ta\tb\n")

    found = read_headers("hook", str(tmp_path / "headers"))

    assert found == {"Authorization": "Bearer x y", "X-Empty": "", "X-Tab": "a\tb"}
    assert read_headers("hook", None) == {}


def test_a_file_of_headers_that_is_missing_is_an_error():
    with pytest.raises(SinkError, match=r"^hook: /nowhere/x: No such file or directory; header-file= takes a readable"):
        read_headers("hook", "/nowhere/x")
