# SPDX-License-Identifier: Apache-2.0
"""The files of lines that the examples in docs/recipes.md read: lines of real kills, some with derived facts."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from support.explained import FIXTURES, POD, changed
from support.packages import environment_of, unpacked

Line = dict[str, Any]

KILLS: tuple[tuple[str, Line], ...] = (
    ("sidekiq", {"process.user": {"id": 1000, "name": "shop"}}),
    ("postgresql", {"process.user": {"id": 105, "name": "postgres"}}),
    ("php-fpm", {"process.user": {"id": 33, "name": "www-data"}}),
    ("jvm", {"process.user": {"id": 1000, "name": "shop"}, **POD}),
    ("many-log", {}),
)
"""Recorded kills in the order of their times, after the two of one incident, and what is changed in each."""

LOSS: Line = {
    "schema": "oomtrace/1",
    "event": "oom_lost",
    "id": "c2617747-lost-647990-3",
    "observed": "2026-11-28T09:50:04.500000Z",
    "severity": "WARN",
    "message": "3 kills between 2026-11-28T09:50:00Z and 2026-11-28T09:50:04Z could not be seen",
    "fidelity": "reduced",
    "host": {"name": "vm", "boot_id": "c2617747-5dd8-4b00-8d9d-3b2cc418ff31", "kernel": "6.18.44"},
    "lost": {"count": 3, "from": "2026-11-28T09:50:00.000000Z", "to": "2026-11-28T09:50:04.500000Z"},
}

PROGRAMS = {"jq": ("jq", "libjq1", "libonig5"), "column": ("bsdextrautils", "libsmartcols1")}

FLEET = {"db1": ("postgresql",), "web1": ("sidekiq", "jvm", "php-fpm"), "web2": ("php-fpm", "php-fpm")}
"""Hosts, and the kills of each; web2 has sent its only line twice."""


def lines() -> list[Line]:
    """Return the lines of one host."""
    incident = [json.loads(line) for line in (FIXTURES / "records/sharer.json").read_text().splitlines()]
    kills = [changed(name, facts) for name, facts in KILLS]
    return [{**line, "seq": seq} for seq, line in enumerate([*incident, *kills, LOSS], 1)]


def dump(each: Iterable[Line]) -> str:
    """Return the text of a file of lines."""
    return "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in each)


def write_logs(folder: Path) -> None:
    """Write `oomtrace.log` and `fleet/HOST.log`."""
    (folder / "oomtrace.log").write_text(dump(lines()))
    (folder / "fleet").mkdir()
    facts = dict(KILLS)
    for host, names in FLEET.items():
        boot = f"{host.encode().hex():0>8}"
        sent = [changed(name, facts[name]) for name in names] + ([LOSS] if host == "db1" else [])
        moved = [
            {**line, "id": re.sub(r"^\w+", boot, line["id"]), "host": {**line["host"], "name": host}} for line in sent
        ]
        (folder / f"fleet/{host}.log").write_text(dump(moved))


def environment() -> dict[str, str]:
    """Return an environment in which jq and column are found: those of Debian's packages, if they are not installed."""
    found = dict(os.environ, LC_ALL="C.UTF-8")
    for program, packages in PROGRAMS.items():
        if not shutil.which(program):
            root = unpacked(*packages)
            found["PATH"] += f":{root / 'usr/bin'}"
            libraries = (found.get("LD_LIBRARY_PATH"), environment_of(root)["LD_LIBRARY_PATH"])
            found["LD_LIBRARY_PATH"] = ":".join(filter(None, libraries))
    return found
