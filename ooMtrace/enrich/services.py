# SPDX-License-Identifier: Apache-2.0
"""The service at the other end of a connection, by its port or the path of its socket."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

from ooMtrace.enrich import Enricher
from ooMtrace.enrich.timebox import TimeBoxedWorker
from ooMtrace.kernel.regular_file import read_regular_file
from ooMtrace.record import Connection, Endpoint, OomKill

PORTS = {
    22: "ssh",
    25: "smtp",
    53: "domain",
    80: "http",
    88: "kerberos",
    123: "ntp",
    389: "ldap",
    443: "https",
    465: "submissions",
    514: "syslog",
    587: "submission",
    636: "ldaps",
    1433: "mssql",
    1521: "oracle",
    1883: "mqtt",
    2049: "nfs",
    2181: "zookeeper",
    2379: "etcd",
    2380: "etcd",
    3306: "mysql",
    4222: "nats",
    4317: "otlp",
    4318: "otlp",
    5432: "postgresql",
    5671: "amqps",
    5672: "amqp",
    6379: "redis",
    6432: "pgbouncer",
    6443: "kubernetes",
    6650: "pulsar",
    8086: "influxdb",
    8125: "statsd",
    8126: "datadog-apm",
    8200: "vault",
    8500: "consul",
    9042: "cassandra",
    9092: "kafka",
    9200: "elasticsearch",
    9300: "elasticsearch",
    11211: "memcached",
    26257: "cockroachdb",
    26379: "redis-sentinel",
    27017: "mongodb",
}
"""Port -> service in practice; /etc/services has outdated names or none for many."""

PATHS = [
    (re.compile(pattern), name)
    for pattern, name in (
        (r"/\.s\.PGSQL\.6432$", "pgbouncer"),
        (r"/\.s\.PGSQL\.[0-9]+$", "postgresql"),
        (r"(?:redis|valkey)[^/]*$", "redis"),
        (r"(?:mysql|mariadb)[^/]*$", "mysql"),
        (r"memcached?[^/]*$", "memcached"),
        (r"/mongodb-[0-9]+\.sock$", "mongodb"),
        (r"[/-]docker\.sock$", "docker"),
        (r"/podman\.sock$", "podman"),
        (r"/crio\.sock$", "crio"),
        (r"/containerd[^/]*\.sock(?:\.ttrpc)?$|^@?/(?:run/)?containerd[/-]", "containerd"),
        (r"/php[^/]*fpm[^/]*$", "php-fpm"),
        (r"/(?:system_bus_socket|bus)$|^@/tmp/dbus-", "dbus"),
        (r"/systemd/journal/|^/dev/log$", "syslog"),
        (r"/systemd/notify$", "systemd"),
        (r"/nscd/socket$", "nscd"),
        (r"/sss/pipes/", "sssd"),
        (r"/datadog/dsd\.socket$", "statsd"),
        (r"/datadog/apm\.socket$", "datadog-apm"),
        (r"/\.X11-unix/X[0-9]+$", "x11"),
    )
]

EPHEMERAL = 32768
"""The first port that Linux assigns to clients: from here on, what a port is registered for says nothing."""

FILE_LIMIT = 1 << 20
"""Maximum bytes read of /etc/services: more than IANA's complete registry."""

ENTRY = re.compile(r"^([A-Za-z0-9][\w.+-]{0,63})[ \t]+([0-9]{1,5})/(tcp|udp)\b", re.ASCII | re.MULTILINE)

TIMEOUT_S = 0.1
"""How long a line waits for the file, once."""

Lookup = Callable[[str, int], "str | None"]


def add_services(names: Mapping[int, str] = {}, services: Path = Path("/etc/services")) -> Enricher:
    """Return an enricher that names the services of connections.

    Args:
        names: Port -> name, given by the operator; these take precedence.
        services: Names of the ports that are in neither `names` nor PORTS. Read when the first such port comes, and
            not again. Until that has ended, these ports have no names: the file may be on a file system that hangs.
    """

    @cache
    def answers() -> list[dict[tuple[str, int], str]]:
        found: list[dict[tuple[str, int], str]] = []
        TimeBoxedWorker("services", TIMEOUT_S).run(lambda: found.append(_registered(services)))
        return found

    def registered() -> dict[tuple[str, int], str]:
        return next(iter(answers()), {})

    def lookup(transport: str, port: int) -> str | None:
        if port in names or port >= EPHEMERAL:
            return names.get(port)
        return PORTS.get(port) or registered().get((transport, port))

    def enrich(kill: OomKill) -> OomKill:
        connections = kill.process.connections
        if not connections:
            return kill
        with_service = tuple(_with_service(connection, lookup) for connection in connections)
        return replace(kill, process=replace(kill.process, connections=with_service))

    return enrich


def _with_service(connection: Connection, lookup: Lookup) -> Connection:
    service = _service(connection, lookup)
    return replace(connection, service=service) if service else connection


def _service(connection: Connection, lookup: Lookup) -> str | None:
    if connection.transport == "unix":
        return _service_at_path(_address(connection.remote) or _address(connection.local))
    if connection.transport not in ("tcp", "udp"):
        return None
    end = connection.local if connection.state == "listen" else connection.remote
    return lookup(connection.transport, end.port) if end and end.port else None


def _address(endpoint: Endpoint | None) -> str | None:
    return None if endpoint is None else endpoint.address


def _service_at_path(path: str | None) -> str | None:
    return next((name for pattern, name in PATHS if path and pattern.search(path)), None)


def _registered(services: Path) -> dict[tuple[str, int], str]:
    try:
        content = read_regular_file(services, FILE_LIMIT).decode("utf-8", "replace")
    except OSError:  # none in a minimal container image
        return {}
    # Reversed, for a dictionary keeps the last entry: of two names for one port the first in the file counts.
    return {(transport, int(port)): name for name, port, transport in reversed(ENTRY.findall(content))}
