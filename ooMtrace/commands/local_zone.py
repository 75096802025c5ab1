# SPDX-License-Identifier: Apache-2.0
"""The time zone of this host with its rules: a date in July has July's offset, whenever it is read."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Mapping
from datetime import timezone, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

from ooMtrace.kernel.regular_file import read_regular_file

ZONES = "usr/share/zoneinfo"
NO_TRANSITIONS = struct.pack(">4s1s15x6I", b"TZif", b"2", 0, 0, 0, 0, 1, 4) + struct.pack(">iBB4s", 0, 0, 0, b"UTC\0")


def local_zone(root: Path = Path("/"), environ: Mapping[str, str] = os.environ) -> tzinfo:
    """Return the zone that TZ names (tzset(3)), or else that of /etc/localtime; UTC if it is not known.

    Args:
        root: The file system's root.
        environ: The environment.
    """
    name = environ.get("TZ")
    if name is None:
        return _read(root / "etc/localtime") or timezone.utc
    name = name.removeprefix(":")
    file = root / (name.lstrip("/") if name.startswith("/") else f"{ZONES}/{name}")
    return (name and _read(file)) or _rules(name) or timezone.utc


def _read(path: Path) -> tzinfo | None:
    try:
        return ZoneInfo.from_file(io.BytesIO(read_regular_file(path)))
    except (OSError, ValueError, struct.error):
        return None


def _rules(text: str) -> tzinfo | None:
    """Return a zone whose rules are written out, as `CET-1CEST,M3.5.0,M10.5.0/3` is; None if it is not one."""
    if "," not in text and text.isascii() and any(character.isdigit() for character in text) and text[-1:].isalpha():
        text += ",M3.2.0,M11.1.0"  # what glibc assumes (posixrules)
    try:
        return ZoneInfo.from_file(io.BytesIO(NO_TRANSITIONS * 2 + b"\n" + text.encode("ascii") + b"\n"))
    except (ValueError, struct.error):
        return None
