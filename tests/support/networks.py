# SPDX-License-Identifier: Apache-2.0
"""Real network namespaces, with addresses reserved for documentation."""

from __future__ import annotations

import os
import shlex
import subprocess
from itertools import count
from pathlib import Path

NUMBERS = count()


class Network:
    """A network namespace with a name, connected to the host by a pair of veth devices."""

    def __init__(self) -> None:
        number = next(NUMBERS)
        self.name, self.outside = f"oomtrace-test-{os.getpid()}-{number}", f"oomt{os.getpid()}-{number}"
        ip(f"netns add {self.name}")
        self.number = (Path("/run/netns") / self.name).stat().st_ino

    def connect(self) -> Network:
        ip(f"link add {self.outside} type veth peer name eth0 netns {self.name}")
        ip(f"link set {self.outside} up")
        for address in ("198.51.100.2/24", "198.51.100.3/24", "2001:db8::2/64 nodad"):
            ip(f"-netns {self.name} address add {address} dev eth0")
        for device in ("lo", "eth0"):
            ip(f"-netns {self.name} link set {device} up")
        return self

    def delete(self) -> None:
        ip(f"netns delete {self.name}")  # and with it, some time later, both ends of the pair


def ip(arguments: str) -> None:
    subprocess.run(["ip", *shlex.split(arguments)], check=True, timeout=30)
