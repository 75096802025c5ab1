# SPDX-License-Identifier: Apache-2.0
"""Release the memory of BCC's compiler, which is not needed once the programs are loaded."""

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


def release_compiler_memory(maps: Path = MAPS) -> None:
    """Return free heap to the kernel and evict the pages of the compiler's libraries; an access faults them in again.

    LLVM is most of BCC's resident memory, which a host that is short of memory needs for other things.
    A kernel or C library without support for this changes nothing.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)
    for start, size, match in _libraries(maps):
        libc.madvise(start, size, MADV_PAGEOUT)
        if match["mode"].startswith("r-x"):
            # MADV_PAGEOUT skips pages that another process maps, too, such as another oomtrace. Code is never modified,
            # so it can be discarded and read from the file again.
            libc.madvise(start, size, MADV_DONTNEED)


def unlock_compiler(maps: Path = MAPS) -> None:
    """Unlock the compiler's pages after mlockall(2): those that another process maps are still resident."""
    libc = ctypes.CDLL(None, use_errno=True)
    for start, size, match in _libraries(maps):
        if match["name"] in COMPILER:
            libc.munlock(start, size)


def _libraries(maps: Path) -> Iterator[tuple[ctypes.c_void_p, ctypes.c_size_t, re.Match[str]]]:
    try:
        text = maps.read_text(errors="replace")
    except OSError:  # /proc is not mounted, or there are too many open files
        return
    for match in LIBRARIES.finditer(text):
        start, end = int(match["start"], 16), int(match["end"], 16)
        yield ctypes.c_void_p(start), ctypes.c_size_t(end - start), match
