# SPDX-License-Identifier: Apache-2.0
"""Unpack a kernel's packages: the image that QEMU boots, its configuration and a few modules."""

from __future__ import annotations

import hashlib
import lzma
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from . import initramfs
from .debs import Archive
from .host import HarnessError, output_of, published
from .matrix import Kernel


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What is kept of a kernel."""

    kernel: Kernel
    home: Path

    @property
    def image(self) -> Path:
        """The kernel itself."""
        return self.home / "vmlinuz"

    @property
    def initramfs(self) -> Path | None:
        """What loads the drivers of the root disk, for a kernel that has them as modules."""
        return self.home / "initramfs" if self.kernel.initramfs else None

    @property
    def config(self) -> Path:
        """Its build configuration, CONFIG_... lines."""
        return self.home / "config"

    @property
    def modules(self) -> Path:
        """A folder that becomes /lib/modules/RELEASE in the guest."""
        return self.home / "modules"


def unpack(kernel: Kernel, modules: Iterable[str], cache: Path, archive: Archive) -> Unpacked:
    """Return the kernel from the cache, or fetch and unpack it there."""
    wanted = tuple(modules)
    home = cache / "kernels" / f"{kernel.release}-{_key(kernel, wanted)}"
    if not home.exists():
        debs = [archive.fetch(package) for package in kernel.packages]
        with published(home) as draft, TemporaryDirectory(dir=home.parent) as scratch:
            draft.mkdir()
            _extract(debs, Path(scratch))
            _keep(kernel, Path(scratch), draft)
            available = {_name(file): file for file in Path(scratch).rglob("*.ko*")}
            (draft / "modules").mkdir()
            for file in _with_dependencies(wanted, available).values():
                shutil.copy(file, draft / "modules")
            if kernel.initramfs:
                drivers = _with_dependencies(initramfs.MODULES, available)
                contents = {name: _content(file) for name, file in drivers.items()}
                initramfs.write(contents, kernel.architecture, Path(scratch), draft / "initramfs")
    return Unpacked(kernel, home)


def _key(kernel: Kernel, modules: tuple[str, ...]) -> str:
    code = (Path(__file__), Path(initramfs.__file__), initramfs.SOURCE)
    built_from = repr((kernel.packages, kernel.initramfs, modules)).encode()
    return hashlib.sha256(built_from + b"".join(file.read_bytes() for file in code)).hexdigest()[:12]


def _extract(debs: Iterable[Path], folder: Path) -> None:
    for deb in debs:
        output_of(["dpkg-deb", "--extract", deb, folder])


def _keep(kernel: Kernel, unpacked: Path, home: Path) -> None:
    # up to 6.18 in /boot with the release in the name, from 6.19 on beside the modules
    for name in ("vmlinuz", "config"):
        places = (
            unpacked / "boot" / f"{name}-{kernel.release}",
            unpacked / "usr/lib/modules" / kernel.release / name,
        )
        found = next((place for place in places if place.exists()), None)
        if found is None:
            raise HarnessError(f"kernel {kernel.name}: no {name} in its packages")
        shutil.copy(found, home / name)


def _with_dependencies(wanted: Iterable[str], available: Mapping[str, Path]) -> dict[str, Path]:
    """Return the files of modules by name, each after those that it depends on.

    A module that this kernel does not have is either built in or not needed by its others.
    """
    found: dict[str, Path] = {}
    for name in map(_normalized, wanted):
        if name in available:
            found |= _with_dependencies(_dependencies(available[name]), available)
            found[name] = available[name]
    return found


def _name(module: Path) -> str:
    return _normalized(module.name.partition(".ko")[0])


def _normalized(name: str) -> str:
    """Return a module's name as the kernel lists it: with `_`, also where its file or its dependants write `-`."""
    return name.replace("-", "_")


def _dependencies(module: Path) -> list[str]:
    listed = re.search(rb"\0depends=([^\0]*)\0", _content(module))
    return [_normalized(name) for name in listed[1].decode().split(",") if name] if listed else []


def _content(module: Path) -> bytes:
    content = module.read_bytes()
    return lzma.decompress(content) if module.suffix == ".xz" else content
