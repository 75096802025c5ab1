# SPDX-License-Identifier: Apache-2.0
"""The open sockets of a victim, from its context."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest
from support.probe_events import context, descriptors, tcp, unix, victim_event

from ooMtrace import record
from ooMtrace.assemble.victim_context import VictimContext, victim_context
from ooMtrace.events import Socket


def converted(*sockets: Socket, **counts: Any) -> VictimContext:
    return victim_context(victim_event(), context(descriptors=descriptors(sockets=sockets, **counts)), ())


def connections(*sockets: Socket, **counts: Any) -> tuple[record.Connection, ...] | None:
    return converted(*sockets, **counts).connections


def address(text: str) -> bytes:
    return ip_address(text).packed


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (address("127.0.0.1"), "127.0.0.1"),
        (address("255.255.255.255"), "255.255.255.255"),
        (address("::1"), "::1"),
        (address("2001:db8::8:800:200c:417a"), "2001:db8::8:800:200c:417a"),
        (address("::ffff:10.1.2.3"), "10.1.2.3"),
        (address("::ffff:0.0.0.0"), "0.0.0.0"),
        (address("::10.1.2.3"), "::a01:203"),
        (address("fe80::1"), "fe80::1"),
    ],
)
def test_addresses_have_their_usual_notation(raw, shown):
    (connection,) = connections(tcp(local=raw, remote=raw))

    assert (connection.local, connection.remote) == (
        record.Endpoint(address=shown, port=40000),
        record.Endpoint(address=shown, port=6379),
    )


@pytest.mark.parametrize("unspecified", [address("0.0.0.0"), address("::")])
def test_an_unbound_end_is_absent_but_a_wildcard_address_with_port_is_not(unspecified):
    (listening,) = connections(tcp(state=10, local=unspecified, local_port=80, remote=unspecified, remote_port=0))
    (fresh,) = connections(tcp(state=7, local=unspecified, local_port=0, remote=unspecified, remote_port=0))

    assert listening == record.Connection(
        fd=3, transport="tcp", state="listen", local=record.Endpoint(address=str(ip_address(unspecified)), port=80)
    )
    assert fresh == record.Connection(fd=3, transport="tcp", state="close")


@pytest.mark.parametrize("invalid", [None, b"", b"\x7f\0\0", b"\1" * 17])
def test_an_invalid_address_is_absent(invalid):
    (connection,) = connections(tcp(local=invalid, remote=invalid))

    assert (connection.local, connection.remote) == (None, None)


def test_an_unknown_port_is_absent():
    (connection,) = connections(tcp(local_port=None))

    assert connection.local == record.Endpoint(address="10.0.0.1", port=None)


@pytest.mark.parametrize(
    ("protocol", "transport"),
    [
        (1, "icmp"),
        (6, "tcp"),
        (17, "udp"),
        (58, "icmpv6"),
        (132, "sctp"),
        (136, "udplite"),
        (255, "raw"),
        (262, "mptcp"),
        (47, "47"),
        (0, "ip"),
        (None, "ip"),
    ],
)
def test_a_protocol_has_its_name_or_its_number(protocol, transport):
    (connection,) = connections(tcp(protocol=protocol))

    assert connection.transport == transport


STATES = {
    1: "established",
    2: "syn_sent",
    3: "syn_recv",
    4: "fin_wait1",
    5: "fin_wait2",
    6: "time_wait",
    7: "close",
    8: "close_wait",
    9: "last_ack",
    10: "listen",
    11: "closing",
    12: "new_syn_recv",
    13: "bound_inactive",
    14: "14",
    -14: "-14",
    None: None,
}


@pytest.mark.parametrize(("state", "name"), STATES.items())
@pytest.mark.parametrize("protocol", [6, 262])
def test_tcp_states_have_names(protocol, state, name):
    (connection,) = connections(tcp(protocol=protocol, state=state))

    assert connection.state == name


@pytest.mark.parametrize(("state", "name"), [*dict.fromkeys(range(15)).items(), (None, None)])
def test_of_other_protocols_only_established_and_listen_are_reported(state, name):
    expected = {1: "established", 10: "listen"}.get(state, name)
    (udp, local) = connections(tcp(protocol=17, state=state), unix(b"/x\0", state=state))

    assert (udp.state, local.state) == (expected, expected)


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"/run/x.sock\0", "/run/x.sock"),
        (b"/run/x.sock", "/run/x.sock"),
        (b"/run/x\0stale", "/run/x"),
        (b"relative\0", "relative"),
        (b"\0abstract", "@abstract"),
        (b"\0a\0b\0", "@a@b@"),
        (b"\x0000001", "@00001"),
        (b"/\xff\x1b\0", "/\\xff\x1b"),
        ("\0名".encode(), "@名"),
    ],
)
def test_a_unix_domain_socket_has_its_name_as_address(raw, shown):
    assert connections(unix(raw), unix(None, raw)) == (
        record.Connection(fd=4, transport="unix", state="established", local=record.Endpoint(address=shown)),
        record.Connection(fd=4, transport="unix", state="established", remote=record.Endpoint(address=shown)),
    )


@pytest.mark.parametrize("unnamed", [None, b""])
def test_an_unnamed_unix_domain_socket_has_no_ends(unnamed):
    assert connections(unix(unnamed, unnamed)) == (record.Connection(fd=4, transport="unix", state="established"),)


@pytest.mark.parametrize(
    ("counts", "reported", "truncated"),
    [
        ({"tcp": 32}, (32, 0), False),
        ({"tcp": 33}, (32, 0), True),
        ({"tcp": 20, "udp": 12}, (32, 0), False),
        ({"tcp": 20, "udp": 13}, (32, 0), True),
        ({"unix": 16}, (0, 16), False),
        ({"unix": 17}, (0, 16), True),
        ({"unix": 64}, (0, 0), False),
        ({"unix": 64}, (0, 15), False),
        ({"unix": 65}, (0, 0), True),
        ({"tcp": 32, "unix": 16}, (32, 16), False),
        ({"tcp": 40, "unix": 16}, (32, 16), True),
        ({"tcp": 32, "unix": 17}, (32, 16), True),
    ],
)
def test_connections_are_truncated_if_there_are_more_sockets(counts, reported, truncated):
    sockets = (tcp(),) * reported[0] + (unix(b"/x\0"),) * reported[1]

    found = converted(*sockets, **counts)

    assert len(found.connections) == sum(reported)
    assert found.truncated == (("process.connections",) if truncated else ())


def test_connections_keep_their_order():
    found = connections(tcp(fd=9), tcp(fd=3), unix(b"/x\0"))

    assert [connection.fd for connection in found] == [9, 3, 4]
