# SPDX-License-Identifier: Apache-2.0
"""matrix.toml as typed values: which kernels, userlands and machines there are."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .architecture import Architecture, named

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TABLE = Path(__file__).with_name("matrix.toml")


@dataclass(frozen=True, slots=True)
class Package:
    """One Debian package, pinned to the byte."""

    name: str
    version: str
    suite: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel to boot and the packages that it is unpacked from."""

    name: str
    release: str
    packages: tuple[Package, ...]
    userlands: tuple[str, ...]
    cannot: tuple[str, ...]
    """Scenarios that ask for what this kernel does not have."""
    architecture: Architecture
    initramfs: bool
    """Whether it has the drivers of the root disk as modules."""
    by_default: bool
    """Whether it runs without it or its architecture being named."""


@dataclass(frozen=True, slots=True)
class Userland:
    """A root file system: a Debian suite, its packages and the wheels of oomtrace's venv."""

    name: str
    suite: str
    python: str
    packages: tuple[str, ...]
    wheels: tuple[str, ...]
    by_default: bool = True
    """Whether it runs without being named."""


@dataclass(frozen=True, slots=True)
class Machine:
    """A way to boot; empty `kernels` or `userlands` mean all of them."""

    name: str
    memory_mb: int
    time_limit_s: int
    scenario_limit_s: int = 120
    cpus: int = 1
    numa_nodes: int = 1
    cmdline: tuple[str, ...] = ()
    kernels: tuple[str, ...] = ()
    userlands: tuple[str, ...] = ()
    by_default: bool = True
    """Whether it runs without being named."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One boot of the matrix."""

    kernel: Kernel
    userland: Userland
    machine: Machine
    only: tuple[str, ...] = ()
    """The scenarios that run; empty: all of the machine."""

    @property
    def name(self) -> str:
        """The name of this boot in messages and as a folder."""
        return f"{self.kernel.name}-{self.userland.name}-{self.machine.name}"


@dataclass(frozen=True, slots=True)
class Matrix:
    """The whole table."""

    modules: tuple[str, ...]
    kernels: tuple[Kernel, ...]
    userlands: tuple[Userland, ...]
    machines: tuple[Machine, ...]
    default: Mapping[str, tuple[str, ...]]
    """The boots that run when none is asked for, by name, and their scenarios; empty: all."""

    def default_cells(self) -> list[Cell]:
        """The boots that run when none is asked for, in the order of the table `default`."""
        cells = {cell.name: cell for cell in self.cells()}
        return [replace(cells[name], only=only) for name, only in self.default.items()]

    def cells(self) -> Iterator[Cell]:
        """Every boot that the table asks for, kernel by kernel."""
        userlands = {userland.name: userland for userland in self.userlands}
        for kernel in self.kernels:
            for name in kernel.userlands:
                for machine in self.machines:
                    if _fits(machine, kernel.name, name):
                        yield Cell(kernel, userlands[name], machine)


def _fits(machine: Machine, kernel: str, userland: str) -> bool:
    return kernel in (machine.kernels or (kernel,)) and userland in (machine.userlands or (userland,))


def load(table: Path = TABLE) -> Matrix:
    """Read the table; a key that it does not know is an error."""
    document = tomllib.loads(table.read_text())
    return Matrix(
        modules=tuple(document["modules"]),
        kernels=tuple(_kernel(row) for row in document["kernel"]),
        userlands=tuple(Userland(**_frozen(row)) for row in document["userland"]),
        machines=tuple(Machine(**_frozen(row)) for row in document["machine"]),
        default=_frozen(document["default"]),
    )


def _kernel(row: dict[str, Any]) -> Kernel:
    packages = (Package(name, row["version"], row["suite"], sha256) for name, sha256 in row["packages"].items())
    return Kernel(
        name=row["name"],
        release=row["release"],
        packages=tuple(packages),
        userlands=tuple(row["userlands"]),
        cannot=tuple(row.get("cannot", ())),
        architecture=named(row.get("arch", "amd64")),
        initramfs=row.get("initramfs", False),
        by_default=row.get("by_default", True),
    )


def _frozen(row: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
