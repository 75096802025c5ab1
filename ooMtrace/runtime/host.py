# SPDX-License-Identifier: Apache-2.0
"""The machine: the same for all kills, read once."""

from __future__ import annotations

import os
from pathlib import Path

from ooMtrace.record import Host


def read_host(proc: Path = Path("/proc")) -> Host:
    """Read name, boot id and kernel of the machine."""
    uname = os.uname()
    try:
        boot_id: str | None = (proc / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:  # a container may hide it
        boot_id = None
    # A host name is any bytes; Python hides those that are not UTF-8 in surrogates, which no JSON can carry.
    name = os.fsencode(uname.nodename).decode("utf-8", "backslashreplace")
    return Host(name=name, boot_id=boot_id, kernel=uname.release)
