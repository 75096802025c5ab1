# SPDX-License-Identifier: Apache-2.0
"""The machine, read once: it is the same for all kills."""

from __future__ import annotations

import os
from pathlib import Path

from ooMtrace.record import Host


def read_host(proc: Path = Path("/proc")) -> Host:
    """Read host name, boot id and kernel release of the machine."""
    uname = os.uname()
    try:
        boot_id: str | None = (proc / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:  # a container may hide it
        boot_id = None
    # A host name is any bytes; Python turns those that are not UTF-8 into surrogates, which JSON cannot carry.
    name = os.fsencode(uname.nodename).decode("utf-8", "backslashreplace")
    return Host(name=name, boot_id=boot_id, kernel=uname.release)
