# SPDX-License-Identifier: Apache-2.0
"""The name of the victim's user, from /etc/passwd."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from ooMtrace.enrich import Enricher
from ooMtrace.record import OomKill

ENTRY = re.compile(r"(?P<name>[^:]*):[^:]*:(?P<id>[0-9]{1,10})(?::|\Z)")
"""The beginning of a line of passwd(5)."""


def add_user_name(passwd: Path = Path("/etc/passwd")) -> Enricher:
    """Return an enricher that adds the name of the user.

    It reads the file for each kill, for users may be added, and does not call getpwuid(3): that may query a
    directory service over the network, and block, on a host that is out of memory.
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
    # Reversed, for a dictionary keeps the last entry: of two names for one id the first in the file counts.
    found = (ENTRY.match(line) for line in reversed(lines))
    return {int(entry["id"]): entry["name"] for entry in found if entry}
