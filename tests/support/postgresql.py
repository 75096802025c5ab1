# SPDX-License-Identifier: Apache-2.0
"""A PostgreSQL server with one database, and a query that takes more memory than it should."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .debian import Tree
from .dialogue import TIMEOUT_S, wait_until

GREEDY = "SELECT array_agg(repeat('x', 8000000)) FROM generate_series(1, 100), pg_sleep(1);"
"""800 MB, after a second's sleep in which a test can read its title."""


@contextmanager
def postgresql(place: Tree) -> Iterator[tuple[str, ...]]:
    """Run a server with a database `appdb` of the user `app`, and yield the command to talk to it."""
    place.share.chmod(0o777)
    programs = Path("/") / next(place.root.glob("usr/lib/postgresql/*/bin")).relative_to(place.root)
    psql = (f"{programs}/psql", "--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--host=/srv")
    place.run(f"{programs}/initdb", "--pgdata=/srv/data", "--auth=trust", "--no-sync", "--locale=C", user="postgres")
    settings = ("listen_addresses=", "unix_socket_directories=/srv", "shared_buffers=1MB", "fsync=off")
    options = [f"--{setting}" for setting in settings]
    log = place.share / "log"
    with log.open("w") as out:
        server = place.start(f"{programs}/postgres", "-D", "/srv/data", *options, user="postgres", stderr=out)
    try:
        wait_until(lambda: server.poll() is not None or "ready to accept connections" in log.read_text())
        create = ("--command=CREATE ROLE app LOGIN", "--command=CREATE DATABASE appdb OWNER app")
        place.run(*psql, "--username=postgres", *create)
        yield psql
    finally:
        # at once: a killed backend makes it restart, and its data is not needed
        server.send_signal(signal.SIGQUIT)
        server.wait(TIMEOUT_S)
