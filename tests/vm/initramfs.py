# SPDX-License-Identifier: Apache-2.0
"""An initramfs that loads the drivers of the root disk, for kernels that have them as modules."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from .architecture import Architecture

SOURCE = Path(__file__).with_name("guest") / "initramfs.c"
MODULES = ("crc32c_generic", "nvme", "ext4")
"""ext4 asks for crc32c by the name of the algorithm, so that it is not among the modules that it depends on."""


def write(modules: Mapping[str, bytes], architecture: Architecture, scratch: Path, target: Path) -> None:
    """Write a cpio archive.

    Args:
        modules: Their contents by name, each after those that it depends on.
        architecture: The one that PID 1 is compiled for.
        scratch: A folder for what is compiled.
        target: The file to write.
    """
    program = scratch / "initramfs-init"
    architecture.compile(SOURCE, program)
    files = {f"modules/{number:02d}-{name}.ko": content for number, (name, content) in enumerate(modules.items())}
    members = [
        _member("init", 0o100755, program.read_bytes()),
        _member("modules", 0o40755, b""),
        *(_member(name, 0o100644, content) for name, content in files.items()),
        _member("TRAILER!!!", 0, b""),
    ]
    target.write_bytes(b"".join(members))


def _member(name: str, mode: int, content: bytes) -> bytes:
    """Return one member in the format "newc" (Documentation/driver-api/early-userspace/buffer-format.rst).

    Its inode number is 0, as all the others': that is the same for files with one link.
    """
    links, path = 1, name.encode() + b"\0"
    fields = (0, mode, 0, 0, links, 0, len(content), 0, 0, 0, 0, len(path), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + path
    return _padded(head) + _padded(content)


def _padded(part: bytes) -> bytes:
    return part + b"\0" * (-len(part) % 4)
