# SPDX-License-Identifier: Apache-2.0
"""The name of the victim's user."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ooMtrace.enrich import Enricher
from ooMtrace.record import OomKill


def add_user_name(passwd: Path = Path("/etc/passwd")) -> Enricher:
    """Return an enricher that names users.

    It reads the file and does not ask the C library: getpwuid(3) may go out over the network, and wait there, on a
    host that is out of memory.
    """

    def enrich(kill: OomKill) -> OomKill:
        user = kill.process.user
        if user is None or user.id is None:
            return kill
        name = _names(passwd).get(user.id)
        return replace(kill, process=replace(kill.process, user=replace(user, name=name)))

    return enrich


def _names(passwd: Path) -> dict[int, str]:
    try:
        lines = passwd.read_bytes().decode("utf-8", "backslashreplace").split("\n")
    except OSError:  # none in a minimal container image
        return {}
    # Backwards, for the last one in a dictionary stays: of two names of one user the first in the file counts.
    entries = (line.split(":") for line in reversed(lines))
    return {int(entry[2]): entry[0] for entry in entries if len(entry) > 2 and entry[2].isdecimal()}  # noqa: PLR2004
