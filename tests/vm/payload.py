# SPDX-License-Identifier: Apache-2.0
"""The folder that a guest gets: its scripts, the scenarios, the kernel's modules, the wheel and the package."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from .kernels import Unpacked

HERE = Path(__file__).parent
GUEST = HERE / "guest"
SCENARIOS = HERE.parent.parent / "vagrant/scenarios"
SUPPORT = HERE.parent / "support"
INSTALLS_PACKAGE = "own_service"
"""The scenario that needs the Debian package."""


def scenarios(machine: str, only: Sequence[str] = ()) -> tuple[str, ...]:
    """The scenarios of a machine, in the order in which the guest runs them; `only` narrows it."""
    names = sorted(file.stem for file in (SCENARIOS / machine).glob("[!_]*.py"))
    return tuple(name for name in names if name in (only or names))


def assemble(
    folder: Path, kernel: Unpacked, names: Sequence[str], wheel: Path | None = None, package: Path | None = None
) -> None:
    """Fill a new folder with everything that the guest unpacks to /payload."""
    folder.mkdir(parents=True)
    for script in ("go", "run.sh"):
        shutil.copy(GUEST / script, folder)
    shutil.copytree(GUEST / "systemd", folder / "systemd")
    shutil.copytree(SCENARIOS, folder / "scenarios", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(SUPPORT, folder / "support", ignore=shutil.ignore_patterns("__pycache__"))
    kernel.kernel.architecture.compile(SUPPORT / "victim.c", folder / "victim")
    shutil.copytree(kernel.modules, folder / "modules")
    (folder / "names").write_text("".join(f"{name}\n" for name in names))
    if wheel is not None:
        shutil.copy(wheel, folder)
    if package is not None and INSTALLS_PACKAGE in names:
        shutil.copy(package, folder)
