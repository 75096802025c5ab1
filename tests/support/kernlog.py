# SPDX-License-Identifier: Apache-2.0
"""A kern.log of any size: real reports with unrelated lines between them, the same each time.

`python -m support.kernlog BYTES REPORTS > FILE`, in `tests`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import cycle
from pathlib import Path

from ooMtrace.kmsg.formats import dmesg

CORPUS = Path(__file__).parent.parent / "fixtures/kmsg"
REAL = (("vm-6.18-global", slice(0, 81), "228"), ("format-dmesg", slice(1, 79), "7673"))
"""Reports: the log, the lines in it and the victim's pid."""

FIRST_PID = 100_000
BEGIN = datetime(2026, 3, 1)
NOISE = (
    'kernel: [{k}] audit: type=1400 audit({u}:{n}): apparmor="STATUS" operation="profile_load" name="snap.{n}" pid={n}',
    "sshd[{n}]: Accepted publickey for deploy from 10.0.0.7 port {n} ssh2: ED25519 SHA256:Q2hvb3NlIGxpZmUuIENob29zZSBh",
    "kernel: [{k}] IPv6: ADDRCONF(NETDEV_CHANGE): veth{n}: link becomes ready",
    "kernel: [{k}] [UFW BLOCK] IN=eth0 OUT= SRC=10.0.0.{o} DST=10.0.0.7 LEN=40 TTL=24{o} PROTO=TCP",
    "systemd[1]: run-docker-runtime\\x2drunc-moby-{n}.mount: Deactivated successfully.",
    "kernel: [{k}] docker0: port 1(veth{n}) entered disabled state",
    "CRON[{n}]: (root) CMD (   cd / && run-parts --report /etc/cron.hourly)",
)


def blocks(size: int, reports: int) -> Iterator[bytes]:
    """Yield about `size` bytes; each report has one victim, with pids from FIRST_PID on."""
    sources = cycle([(_texts(name, part), pid) for name, part, pid in REAL])
    line_number, noise = 0, cycle(NOISE)
    for report, (texts, pid) in zip(range(reports), sources, strict=False):
        block = bytearray()
        while len(block) < size // reports - sum(map(len, texts)):
            line_number += 1
            block += _line(line_number, next(noise))
        for text in texts:
            block += _line(
                line_number, "kernel: [{k}] " + text.replace(pid, str(FIRST_PID + report)).replace("{", "{{")
            )
        yield bytes(block)


def _texts(name: str, part: slice) -> list[str]:
    found = map(dmesg, (CORPUS / f"{name}.log").read_text().splitlines()[part])
    return [line.text for line in found if line]


def _line(line_number: int, template: str) -> bytes:
    """Format a line of syslog; two seconds pass from one to the next."""
    moment, seconds = BEGIN + timedelta(seconds=2 * line_number), 2 * line_number
    text = template.format(
        k=f"{seconds:5}.{line_number % 1_000_000:06}", u=f"{seconds}.000", n=line_number % 32768, o=line_number % 250
    )
    return f"{moment:%b %e %H:%M:%S} node-17 {text}\n".encode()


if __name__ == "__main__":
    for block in blocks(int(sys.argv[1]), int(sys.argv[2])):
        sys.stdout.buffer.write(block)
