# SPDX-License-Identifier: Apache-2.0
"""The name of the victim's user, from /etc/passwd."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from ooMtrace.enrich import Enricher
from ooMtrace.kernel.regular_file import read_regular_file
from ooMtrace.record import OomKill


def add_user_name(passwd: Path = Path("/etc/passwd")) -> Enricher:
    """Return an enricher that adds the name of the user.

    It reads the file again when it has changed, for users may be added, and does not call getpwuid(3): that may query
    a directory service over the network, and block, on a host that is out of memory.
    """

    def enrich(kill: OomKill) -> OomKill:
        user = kill.process.user
        if user is None or user.id is None:
            return kill
        name = _name(passwd, user.id)
        return replace(kill, process=replace(kill.process, user=replace(user, name=name)))

    return enrich


def _name(passwd: Path, user: int) -> str | None:
    """Return the name in the first entry of passwd(5) with this id: of two names for one id the first counts."""
    try:
        status = passwd.stat()
        return _read_name(passwd, user, (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns))
    except OSError:  # none in a minimal container image
        return None


@lru_cache(maxsize=256)  # a storm kills processes of the same few users
def _read_name(passwd: Path, user: int, version: tuple[int, ...]) -> str | None:
    content = read_regular_file(passwd)
    found = re.search(rb"^([^:\n]+):[^:\n]*:0{0,9}%d(?::|$)" % user, content, re.MULTILINE)
    return found[1].decode("utf-8", "backslashreplace") if found else None
