# SPDX-License-Identifier: Apache-2.0
"""Give back the memory of BCC's compiler, which is not needed once the programs are loaded."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator
from pathlib import Path

MADV_DONTNEED, MADV_PAGEOUT = 4, 21  # the latter since Linux 5.4, include/uapi/asm-generic/mman-common.h
MAPS = Path("/proc/self/maps")
LIBRARIES = re.compile(
    r"^(?P<start>[0-9a-f]+)-(?P<end>[0-9a-f]+) (?P<mode>\S+) .*/lib(?P<name>LLVM|clang|bcc|bpf)[^/]*$",
    re.MULTILINE,
)
COMPILER = ("LLVM", "clang")


def give_back_compiler(maps: Path = MAPS) -> None:
    """Return free heap to the kernel, and drop the pages of the compiler's libraries; they come back when touched.

    LLVM makes up most of BCC's resident memory, which is the last thing a host short of memory can spare.
    A kernel or C library that cannot do it leaves everything as it was.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)
    for start, size, found in _libraries(maps):
        libc.madvise(start, size, MADV_PAGEOUT)
        if found["mode"].startswith("r-x"):
            # The former leaves what somebody else has mapped, too, such as another oomtrace. Code is never written to,
            # so it may be forgotten: what is touched again comes from the file.
            libc.madvise(start, size, MADV_DONTNEED)


def unlock_compiler(maps: Path = MAPS) -> None:
    """Let its pages go if all memory is locked: those that another process maps, too, are still there."""
    libc = ctypes.CDLL(None, use_errno=True)
    for start, size, found in _libraries(maps):
        if found["name"] in COMPILER:
            libc.munlock(start, size)


def _libraries(maps: Path) -> Iterator[tuple[ctypes.c_void_p, ctypes.c_size_t, re.Match[str]]]:
    for found in LIBRARIES.finditer(maps.read_text(errors="replace")):
        start, end = int(found["start"], 16), int(found["end"], 16)
        yield ctypes.c_void_p(start), ctypes.c_size_t(end - start), found
