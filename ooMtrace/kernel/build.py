# SPDX-License-Identifier: Apache-2.0
"""What is the same in every boot of one build of the kernel: its types, and where its symbols are in its image."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, Protocol

from ooMtrace.errors import BtfError
from ooMtrace.kernel.btf import Btf
from ooMtrace.kernel.offsets import NAMES, Offsets, find_offsets

SYMBOLS = (
    "oom_kill_process",
    "__oom_kill_process",
    "oom_kill_memcg_member",
    "mem_cgroup_out_of_memory",
    "moom_callback",
    "oom_badness",
    "oom_badness.part.0",
    "out_of_memory",
    "cgroup_kill_write",
    "__per_cpu_offset",
)
"""Kernel symbols that the plan or the attribution of a kill depends on."""

BASE = b" _stext\n"
"""The symbol that the others are relative to: KASLR moves the image as a whole."""

BASE_WITHIN = 1 << 20
"""Bytes of /proc/kallsyms in which it is; it follows those of per-CPU data, of which there are some hundred."""


class Types(NamedTuple):
    """What was found in BTF, or the error.

    Attributes:
        error: Why there is no type information; "" if there is.
        offsets: For bpf/kernel.h.
        mark_victim: Types of the raw tracepoint's arguments.
        cgroup_mkdir: The same of that tracepoint.
        oom_kill_process: Id of the function's type.
    """

    error: str = ""
    offsets: Offsets | None = None
    mark_victim: tuple[str, ...] | None = None
    cgroup_mkdir: tuple[str, ...] | None = None
    oom_kill_process: int | None = None


class Build(NamedTuple):
    """Types and symbols of one build.

    Attributes:
        types: From BTF.
        symbols: Start and end of each of SYMBOLS that exists, relative to `_stext`; empty if addresses are hidden.
    """

    types: Types
    symbols: Mapping[str, tuple[int, int]]


class BuildStore(Protocol):
    """Keeps the facts about the running kernel's build."""

    def read_build(self) -> Build | None:
        """Return them; None if they are not known."""

    def write_build(self, build: Build) -> None:
        """Keep them."""


Symbols = dict[str, tuple[int, int]]


def read_build(proc: Path, sys: Path, store: BuildStore | None) -> tuple[Types, Symbols]:
    """Return types, and start and end address of each symbol in this boot; (0, 0) where addresses are hidden.

    What the store knows is read from neither BTF nor the whole of /proc/kallsyms.
    """
    known = store.read_build() if store else None
    base = _read_base(proc / "kallsyms") if known else 0
    if known and base:
        return known.types, {name: (base + start, base + end) for name, (start, end) in known.symbols.items()}
    types, kallsyms = _types(sys / "kernel/btf/vmlinux"), read(proc / "kallsyms")
    symbols, base = _symbols(kallsyms), _base(kallsyms)
    if store and base and all(start and end for start, end in symbols.values()):
        store.write_build(Build(types, {name: (start - base, end - base) for name, (start, end) in symbols.items()}))
    return types, symbols


def _types(path: Path) -> Types:
    """Look up all or nothing: data that is corrupt in one place is not trusted in another."""
    try:
        btf = Btf.load(path, NAMES)
    except BtfError as problem:
        return Types(problem.fact)
    try:
        return Types(
            offsets=find_offsets(btf),
            mark_victim=btf.tracepoint_arguments("mark_victim"),
            cgroup_mkdir=btf.tracepoint_arguments("cgroup_mkdir"),
            oom_kill_process=btf.function("oom_kill_process"),
        )
    except BtfError as problem:
        return Types(f"{path}: {problem.fact}")


def read(path: Path) -> bytes:
    """Return a file's contents; b"" if it is not mounted, not configured or not permitted."""
    try:
        with path.open("rb", buffering=0) as file:
            # Large reads: pathlib would read kallsyms a kilobyte at a time, which takes twice as long.
            return b"".join(iter(lambda: file.read(1 << 20), b""))
    except OSError:
        return b""


def _read_base(kallsyms: Path) -> int:
    """Return the address of `_stext`, from the beginning of the file; 0 if it is hidden or not there."""
    text = b""
    try:
        with kallsyms.open("rb", buffering=0) as file:
            while len(text) < BASE_WITHIN and BASE not in text and (part := file.read(1 << 14)):
                text += part
    except OSError:
        return 0
    return _base(text)


def _base(kallsyms: bytes) -> int:
    end = kallsyms.find(BASE)
    return _address(kallsyms, kallsyms.rfind(b"\n", 0, end) + 1) if end >= 0 else 0


def _symbols(kallsyms: bytes) -> Symbols:
    """Find a few symbols in some megabytes of text; a function ends at the address on the next line."""
    found: Symbols = {}
    for name in SYMBOLS:
        line_end = kallsyms.find(f" {name}\n".encode())
        if line_end < 0:
            continue
        start = kallsyms.rfind(b"\n", 0, line_end) + 1
        following = kallsyms.find(b"\n", line_end) + 1
        found[name] = (_address(kallsyms, start), _address(kallsyms, following))
    return found


def _address(kallsyms: bytes, at: int) -> int:
    digits = re.match(rb"[0-9a-f]{1,16}", kallsyms[at : at + 16])
    return int(digits[0], 16) if digits else 0
