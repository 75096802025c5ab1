# SPDX-License-Identifier: Apache-2.0
"""The guests in which the tools are compared: Debian's kernels with Debian's tools of the same release."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from vm.matrix import Kernel, Matrix, Userland

TOOLS = ("bpfcc-tools", "bpftrace", "libbpf-tools")
"""Packages: oomkill-bpfcc, oomkill.bt, and the libbpf version of oomkill."""

USERLANDS = {"6.1": "bookworm", "6.12": "trixie"}
"""The release of Debian that has each kernel, by the kernel's name in matrix.toml."""


@dataclass(frozen=True, slots=True)
class Guest:
    """A kernel and the userland that it is booted with."""

    kernel: Kernel
    userland: Userland


def guests(matrix: Matrix, names: Iterable[str]) -> list[Guest]:
    """Return the guests of these kernels; `names` are keys of USERLANDS."""
    kernels = {kernel.name: kernel for kernel in matrix.kernels}
    userlands = {userland.name: userland for userland in matrix.userlands}
    return [Guest(kernels[name], _with_tools(userlands[USERLANDS[name]], kernels[name])) for name in names]


def _with_tools(userland: Userland, kernel: Kernel) -> Userland:
    # oomkill-bpfcc compiles against the headers of the kernel that runs
    packages = (*userland.packages, *TOOLS, f"linux-headers-{kernel.release}")
    return replace(userland, name=f"bench-{userland.name}", packages=packages)
