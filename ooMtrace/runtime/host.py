# SPDX-License-Identifier: Apache-2.0
"""The machine, read once: it is the same for all kills."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from ooMtrace.enrich.kubernetes import NODE_NAME
from ooMtrace.record import Host


def read_host(proc: Path = Path("/proc"), environment: Mapping[str, str] = os.environ) -> Host:
    """Read host name, boot id and kernel release of the machine.

    Args:
        proc: Where /proc is mounted.
        environment: NODE_NAME is the name of the Kubernetes node if oomtrace runs in a pod, where uname(2) states the
            pod's name.
    """
    uname = os.uname()
    try:
        boot_id: str | None = (proc / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:  # a container may hide it
        boot_id = None
    # A host name is any bytes; Python turns those that are not UTF-8 into surrogates, which JSON cannot carry.
    name = os.fsencode(uname.nodename).decode("utf-8", "backslashreplace")
    node = environment.get("NODE_NAME", "")
    if NODE_NAME.fullmatch(node):
        name = node
    return Host(name=name, boot_id=boot_id, kernel=uname.release)
