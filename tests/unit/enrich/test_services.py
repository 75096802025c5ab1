# SPDX-License-Identifier: Apache-2.0
"""Services of connections, by port, path and the operator's names."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest
from support.probe_events import kill

from ooMtrace import record
from ooMtrace.enrich import services as services_module
from ooMtrace.enrich.services import FILE_LIMIT, TIMEOUT_S, add_services
from ooMtrace.record import Connection, Endpoint

SERVICES = b"""\
# Network services, Internet style
gopher\t\t70/tcp\t\t\t\t# Internet Gopher
first 7000/tcp
second 7000/tcp alias
talk\t\t517/udp
redis-of-the-file 6379/tcp
#commented 7001/tcp
last 32767/tcp
ephemeral 32768/tcp
high 40000/tcp
broken
broken 7002
broken x/tcp
broken 99999999999999999999/tcp
\xff\xfe 7003/tcp
"""


def holding(*connections: Connection) -> record.OomKill:
    return kill(process=record.Process(pid=100, connections=connections))


def client(port: int | None, transport: str = "tcp") -> Connection:
    local, remote = Endpoint(address="10.0.0.1", port=5432), Endpoint(address="10.0.0.2", port=port)
    return Connection(fd=3, transport=transport, state="established", local=local, remote=remote)


def unix(local: str | None = None, remote: str | None = None) -> Connection:
    ends = [None if path is None else Endpoint(address=path) for path in (local, remote)]
    return Connection(fd=3, transport="unix", local=ends[0], remote=ends[1])


@pytest.fixture
def services(tmp_path: Path) -> Path:
    path = tmp_path / "services"
    path.write_bytes(SERVICES)
    return path


def name_of(connection: Connection, services: Path, names: dict[int, str] | None = None) -> str | None:
    (named,) = add_services(names or {}, services)(holding(connection)).process.connections
    return named.service


@pytest.mark.parametrize(
    ("port", "transport", "name"),
    [
        (6379, "tcp", "redis"),
        (5432, "tcp", "postgresql"),
        (3306, "tcp", "mysql"),
        (8125, "udp", "statsd"),
        (443, "udp", "https"),
        (70, "tcp", "gopher"),
        (70, "udp", None),
        (517, "udp", "talk"),
        (7000, "tcp", "first"),
        (7001, "tcp", None),
        (7002, "tcp", None),
        (7003, "tcp", None),
        (32767, "tcp", "last"),
        (32768, "tcp", None),
        (40000, "tcp", None),
        (6379, "sctp", None),
        (6379, "raw", None),
        (0, "tcp", None),
        (None, "tcp", None),
        (-1, "tcp", None),
    ],
)
def test_the_remote_port_names_the_service(services, port, transport, name):
    assert name_of(client(port, transport), services) == name


def test_a_listening_socket_is_named_by_its_own_port(services):
    local, remote = Endpoint(address="0.0.0.0", port=6379), Endpoint(address="0.0.0.0", port=5432)
    listening = Connection(fd=3, transport="tcp", state="listen", local=local, remote=remote)

    assert name_of(listening, services) == "redis"


@pytest.mark.parametrize("state", ["listen", "established", None])
def test_a_socket_without_endpoints_has_no_service(services, state):
    assert name_of(Connection(fd=3, transport="tcp", state=state), services) is None


@pytest.mark.parametrize("port", [6379, 70, 9999, 40000])
def test_the_operators_names_take_precedence(services, port):
    assert name_of(client(port), services, {port: "ours"}) == "ours"


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe\0", b"a/b/c\n" * 9, b"x" * 9999, b"x " * 9999])
def test_a_missing_or_damaged_services_file_costs_only_its_names(tmp_path, content):
    if content is not None:
        (tmp_path / "services").write_bytes(content)

    assert name_of(client(70), tmp_path / "services") is None
    assert name_of(client(6379), tmp_path / "services") == "redis"


def test_a_directory_in_place_of_the_file_costs_only_its_names(tmp_path):
    assert name_of(client(70), tmp_path) is None


def test_a_fifo_in_place_of_the_file_costs_only_its_names(tmp_path):
    os.mkfifo(tmp_path / "services")

    assert name_of(client(70), tmp_path / "services") is None
    assert [thread.name for thread in threading.enumerate() if thread.name == "services"] == []


def test_a_file_that_hangs_costs_its_names_and_delays_one_line_only(tmp_path, monkeypatch):
    released, reads = threading.Event(), []

    def hang(_path):
        reads.append(1)
        released.wait(60)
        return {}

    monkeypatch.setattr(services_module, "_registered", hang)
    enrich = add_services({}, tmp_path / "services")
    began = time.monotonic()
    found = [enrich(holding(client(70))).process.connections[0].service for _ in range(50)]

    assert time.monotonic() - began < 10 * TIMEOUT_S
    assert (found, reads) == ([None] * 50, [1])
    released.set()


def test_only_the_beginning_of_a_huge_file_is_read(tmp_path):
    (tmp_path / "services").write_bytes(b"near 70/tcp\n" + b"#" * FILE_LIMIT + b"\nfar 71/tcp\n")

    assert name_of(client(70), tmp_path / "services") == "near"
    assert name_of(client(71), tmp_path / "services") is None


def test_the_file_is_read_when_it_is_needed_and_only_once(tmp_path):
    enrich = add_services({}, tmp_path / "services")
    enrich(holding(client(6379)))
    (tmp_path / "services").write_text("gopher 70/tcp\n")
    assert enrich(holding(client(70))).process.connections[0].service == "gopher"

    (tmp_path / "services").unlink()

    assert enrich(holding(client(70))).process.connections[0].service == "gopher"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/var/run/postgresql/.s.PGSQL.5432", "postgresql"),
        ("/tmp/.s.PGSQL.6432", "pgbouncer"),
        ("/run/redis/redis-server.sock", "redis"),
        ("/run/mysqld/mysqld.sock", "mysql"),
        ("/var/run/memcached.sock", "memcached"),
        ("/tmp/mongodb-27017.sock", "mongodb"),
        ("/var/run/docker.sock", "docker"),
        ("/run/containerd/containerd.sock", "containerd"),
        ("@/containerd-shim/default/abc/shim.sock", "containerd"),
        ("/run/containerd/s/0123456789abcdef", "containerd"),
        ("/run/php/php8.2-fpm.sock", "php-fpm"),
        ("/run/dbus/system_bus_socket", "dbus"),
        ("/run/user/1000/bus", "dbus"),
        ("/run/systemd/journal/stdout", "syslog"),
        ("/dev/log", "syslog"),
        ("/run/systemd/notify", "systemd"),
        ("@/tmp/.X11-unix/X0", "x11"),
        ("/srv/redis/app/own.sock", None),
        ("@own", None),
        ("@", None),
        ("", None),
    ],
)
def test_a_unix_socket_is_named_by_its_path(services, path, name):
    assert name_of(unix(remote=path), services) == name
    assert name_of(unix(local=path), services) == name


def test_the_remote_name_of_a_unix_socket_takes_precedence(services):
    assert name_of(unix(local="/run/own.sock", remote="/var/run/docker.sock"), services) == "docker"


def test_a_unix_socket_without_a_name_has_no_service(services):
    assert name_of(unix(), services) is None


@pytest.mark.parametrize("connections", [None, ()])
def test_without_connections_nothing_changes(services, connections):
    alone = kill(process=record.Process(pid=100, connections=connections))

    assert add_services({}, services)(alone) is alone


def test_other_facts_of_a_connection_are_unchanged(services):
    named = add_services({}, services)(holding(client(6379), client(9999))).process.connections

    assert [connection.service for connection in named] == ["redis", None]
    assert [connection.remote for connection in named] == [client(6379).remote, client(9999).remote]
