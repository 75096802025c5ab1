# SPDX-License-Identifier: Apache-2.0
"""The processor architectures of the guests, by Debian's names for them."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path

from .host import HarnessError, output_of


@dataclass(frozen=True, slots=True)
class Architecture:
    """One architecture.

    Attributes:
        name: Debian's name, as in matrix.toml.
        machine: What uname(2) calls it, and wheels.
        qemu: The emulator and the machine that it emulates.
        console: The serial line, as on the kernel's command line.
        compiler: Makes static programs for it.
        slowdown: How many times as long as on amd64 everything may take.
    """

    name: str
    machine: str
    qemu: tuple[str, ...]
    console: str
    compiler: str
    slowdown: int = 1

    @property
    def is_native(self) -> bool:
        """Whether programs of a guest run on this host."""
        return self.machine == platform.machine()

    def compile(self, source: Path, target: Path) -> None:
        """Make a static program: the guest's C library may be older than the host's, and an initramfs has none."""
        output_of([self.compiler, "-O1", "-static", "-pthread", "-o", target, source])


ARCHITECTURES = {
    each.name: each
    for each in (
        Architecture(
            name="amd64",
            machine="x86_64",
            qemu=("qemu-system-x86_64", "-M", "q35", "-accel", "tcg", "-cpu", "qemu64"),
            console="ttyS0",
            compiler="cc",
        ),
        Architecture(
            name="arm64",
            machine="aarch64",
            # without pauth-impdef QEMU computes each pointer's signature with QARMA5, which takes most of the time
            qemu=("qemu-system-aarch64", "-M", "virt", "-accel", "tcg", "-cpu", "max,pauth-impdef=on"),
            console="ttyAMA0",
            compiler="aarch64-linux-gnu-gcc",
            slowdown=6,
        ),
    )
}


def named(name: str) -> Architecture:
    """Return an architecture by Debian's name for it."""
    if name not in ARCHITECTURES:
        raise HarnessError(f"no architecture {name}; there are: {', '.join(ARCHITECTURES)}")
    return ARCHITECTURES[name]
