# SPDX-License-Identifier: Apache-2.0
"""Metrics over HTTP as an output, and one client of it: in parts, without an end, gone, or slow to read."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from support.probe_events import kill

from ooMtrace.output.channel import Channel
from ooMtrace.output.endpoint import Client, Endpoint
from ooMtrace.output.metrics import Metrics
from ooMtrace.output.outputs import Outputs

REQUEST = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"


class Pair(NamedTuple):
    client: Client
    peer: socket.socket

    def serve(self, body: bytes = b"a 1\n") -> bool:
        """Return whether the client has more to read or write."""
        return self.client.serve(lambda: body)


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Pair(Client(ours), theirs)


def test_a_request_may_arrive_in_parts(pair):
    assert pair.serve(), "nothing has arrived yet"
    for part in (REQUEST[:20], REQUEST[20:-1]):
        pair.peer.sendall(part)
        assert pair.serve()
    pair.peer.sendall(REQUEST[-1:])

    assert not pair.serve()
    assert pair.peer.recv(1000).endswith(b"\r\n\r\na 1\n")


def test_a_client_that_goes_without_a_request_is_not_waited_for(pair):
    pair.peer.sendall(REQUEST[:20])
    pair.peer.shutdown(socket.SHUT_WR)
    assert pair.serve()

    assert not pair.serve()


def test_a_request_of_8_kib_without_an_end_is_not_read_further(pair):
    pair.peer.sendall(b"x" * 8191)
    assert pair.serve()
    pair.peer.sendall(b"x")

    assert not pair.serve()


def test_a_long_answer_is_written_as_the_client_reads_it(pair):
    body, got = b"a 1\n" * 500_000, bytearray()
    pair.peer.sendall(REQUEST)

    while pair.serve(body):
        got += pair.peer.recv(1 << 20)
    pair.client.connection.close()
    while part := pair.peer.recv(1 << 20):
        got += part

    assert bytes(got).partition(b"\r\n\r\n")[2] == body


def test_an_answer_to_another_method_names_those_that_are_allowed(pair):
    pair.peer.sendall(b"POST /metrics HTTP/1.1\r\n\r\n")
    pair.serve()
    status, *headers = pair.peer.recv(1000).partition(b"\r\n\r\n")[0].split(b"\r\n")

    assert status == b"HTTP/1.1 405 Method Not Allowed"
    assert b"Allow: GET, HEAD" in headers


def test_metrics_over_http_take_each_kill_and_keep_nothing_to_write():
    metrics = Metrics()
    endpoint = Endpoint("metrics", "127.0.0.1", 0, metrics.text)
    outputs = Outputs([Channel(endpoint, lambda _: b"", carries_lines=False)], pytest.fail, metrics=metrics)
    outputs.start("full")
    assert [outputs.put(kill()), outputs.put(kill())] == [True, True]
    outputs.reopen()
    outputs.drain(30)

    assert (outputs.empty, outputs.blocked_fds(), outputs.retry_ms(), outputs.fds()) == (True, [], None, [])
    outputs.check_all_written(0)
    with socket.create_connection(("127.0.0.1", endpoint.port), 30) as connection:
        connection.sendall(REQUEST)
        (kills,) = (line for line in connection.makefile("rb") if line.startswith(b"oomtrace_kills_total{"))
    assert kills.endswith(b" 2\n")
    outputs.close()
