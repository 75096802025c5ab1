# SPDX-License-Identifier: Apache-2.0
"""BCC's library without the compiler, libbcc_bpf: it creates maps, loads and attaches programs, reads perf buffers.

The only module that calls it. Its functions have had these signatures since BCC 0.6 (src/cc/libbpf.h).
"""

from __future__ import annotations

import ctypes
import mmap
import os
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

from ooMtrace.errors import CannotTraceError, ProbeError
from ooMtrace.kernel.obstacles import INSTALL_BCC
from ooMtrace.probe.image import MapDefinition

LIBRARIES = ("libbcc_bpf.so.0", "libbcc.so.0")
"""The first that there is. The second has the same functions, and the compiler."""

MAPPED = re.compile(r"/\S*/(?=libbcc(?:_bpf)?\.so[^/]*$)", re.MULTILINE)

RAW_CALLBACK = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int)
LOST_CALLBACK = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint64)
KPROBE, TRACEPOINT, RAW_TRACEPOINT, TRACING = 2, 5, 17, 26
"""enum bpf_prog_type in include/uapi/linux/bpf.h."""
MMAPABLE = 1 << 10
"""BPF_F_MMAPABLE: flag of an array that mmap(2) takes; since Linux 5.5."""

_INT, _UINT, _TEXT, _POINTER = ctypes.c_int, ctypes.c_uint, ctypes.c_char_p, ctypes.c_void_p
SIGNATURES: dict[str, tuple[object, list[object]]] = {
    "bcc_create_map": (_INT, [_INT, _TEXT, _INT, _INT, _INT, _INT]),
    "bcc_prog_load": (_INT, [_INT, _TEXT, _POINTER, _INT, _TEXT, _UINT, _INT, _POINTER, _UINT]),
    "bpf_attach_kprobe": (_INT, [_INT, _INT, _TEXT, _TEXT, ctypes.c_uint64, _INT]),
    "bpf_attach_kfunc": (_INT, [_INT]),
    "bpf_attach_raw_tracepoint": (_INT, [_INT, _TEXT]),
    "bpf_attach_tracepoint": (_INT, [_INT, _TEXT, _TEXT]),
    "bpf_lookup_elem": (_INT, [_INT, _POINTER, _POINTER]),
    "bpf_update_elem": (_INT, [_INT, _POINTER, _POINTER, ctypes.c_ulonglong]),
    "bpf_delete_elem": (_INT, [_INT, _POINTER]),
    "bpf_open_perf_buffer": (_POINTER, [RAW_CALLBACK, LOST_CALLBACK, _POINTER, _INT, _INT, _INT]),
    "perf_reader_fd": (_INT, [_POINTER]),
    "perf_reader_event_read": (None, [_POINTER]),
    "perf_reader_free": (None, [_POINTER]),
}


@cache
def library() -> ctypes.CDLL:
    """Return the library.

    Raises:
        CannotTraceError: It is not installed.
    """
    errors = []
    for candidate in LIBRARIES:
        try:
            loaded = ctypes.CDLL(candidate, use_errno=True)
            for name, (result, arguments) in SIGNATURES.items():
                function = getattr(loaded, name)
                function.restype, function.argtypes = result, arguments
        except (OSError, AttributeError) as error:
            errors.append(str(error))
        else:
            return loaded
    raise CannotTraceError(f"BCC's library cannot be loaded ({errors[0]})", INSTALL_BCC)


def compiler_identity(maps: Path = Path("/proc/self/maps")) -> str:
    """Return what distinguishes one build of BCC's compiler from another; "" if it cannot be found.

    It is in the directory of the library. Which LLVM it uses is part of each build.
    """
    try:
        library()
        found = MAPPED.search(maps.read_text(errors="replace"))
        status = (Path(found[0]) / "libbcc.so.0").stat() if found else None
    except (OSError, CannotTraceError):
        return ""
    return f"{status.st_size} {status.st_mtime_ns}" if status else ""


def create_map(definition: MapDefinition) -> int:
    """Create a map; return its file descriptor."""
    kind, name = definition.type, definition.name.encode()
    sizes = (definition.key_size, definition.value_size, definition.max_entries, definition.flags)
    return _fd(library().bcc_create_map(kind, name, *sizes), f"cannot create the map {definition.name}")


def map_memory(fd: int) -> mmap.mmap:
    """Return the values of an array of at most a page, which was created with MMAPABLE, as memory to read.

    Raises:
        OSError: It was created without.
    """
    return mmap.mmap(fd, mmap.PAGESIZE, mmap.MAP_SHARED, mmap.PROT_READ)


def load_program(kind: int, name: str, code: bytes) -> int:
    """Load a program; return its file descriptor. The verifier's log goes to stderr.

    BCC's own names of fentry and fexit programs (`kfunc__`, `kretfunc__`) state what they attach to: the library looks
    the function up in the running kernel's BTF.
    """
    insns = ctypes.create_string_buffer(code, len(code))
    fd = library().bcc_prog_load(kind, name.encode(), insns, len(code), b"GPL", 0, 0, None, 0)
    return _fd(fd, f"Failed to load BPF program {name}")


def attach(kind: str, target: str, program_fd: int) -> int:
    """Attach a loaded program; return the descriptor that keeps it attached."""
    lib, name = library(), target.encode()
    if kind in ("kprobe", "kretprobe"):
        returns = kind == "kretprobe"
        event = (b"r_" if returns else b"p_") + name.replace(b"+", b"_").replace(b".", b"_")
        fd = lib.bpf_attach_kprobe(program_fd, int(returns), event, name, 0, 0)
    elif kind == "raw_tracepoint":
        fd = lib.bpf_attach_raw_tracepoint(program_fd, name)
    elif kind == "tracepoint":
        fd = lib.bpf_attach_tracepoint(program_fd, *name.split(b":", 1))
    elif kind in ("fentry", "fexit"):
        fd = lib.bpf_attach_kfunc(program_fd)
    else:
        raise ValueError(f"cannot attach a program to {kind}:{target}")
    return _fd(fd, f"Failed to attach a BPF program to {kind} {target}")


class Map:
    """A map's contents, from user space.

    Args:
        fd: Its file descriptor.
        definition: The sizes of its keys and values.
    """

    def __init__(self, fd: int, definition: MapDefinition) -> None:
        self.fd = fd
        self._definition = definition

    def lookup(self, key: bytes) -> bytes | None:
        """Return the value for a key; None if there is none. Not for per-CPU maps, whose values are longer."""
        value = ctypes.create_string_buffer(self._definition.value_size)
        if library().bpf_lookup_elem(self.fd, self._key(key), value) < 0:
            return None
        return value.raw

    def update(self, key: bytes, value: bytes) -> None:
        """Set the value for a key; raises ProbeError if the kernel refuses it."""
        if len(value) != self._definition.value_size:
            raise ValueError(f"{self._definition.name}: a value of {len(value)} bytes")
        buffer = ctypes.create_string_buffer(value, len(value))
        if library().bpf_update_elem(self.fd, self._key(key), buffer, 0) < 0:
            raise _error(f"cannot update the map {self._definition.name}")

    def delete(self, key: bytes) -> None:
        """Remove a key; one that is not there is ignored."""
        library().bpf_delete_elem(self.fd, self._key(key))

    def _key(self, key: bytes) -> ctypes.Array[ctypes.c_char]:
        if len(key) != self._definition.key_size:
            raise ValueError(f"{self._definition.name}: a key of {len(key)} bytes")
        return ctypes.create_string_buffer(key, len(key))


class PerfReader:
    """The perf buffer of one CPU, until `close`.

    Args:
        cpu: Its number.
        pages: Its size, a power of two.
        receive: Takes each record.
        lose: Takes how many records did not fit.
    """

    def __init__(self, cpu: int, pages: int, receive: Callable[[bytes], None], lose: Callable[[int], None]) -> None:
        # Called from C, where exceptions are printed and lost. The library calls them until the reader is freed.
        self._callbacks = (
            RAW_CALLBACK(lambda _, data, size: receive(ctypes.string_at(data, size))),
            LOST_CALLBACK(lambda _, count: lose(count)),
        )
        self._reader = library().bpf_open_perf_buffer(*self._callbacks, None, -1, cpu, pages)
        if not self._reader:
            raise _error(f"cannot open the perf buffer of CPU {cpu}")
        self.fd = int(library().perf_reader_fd(self._reader))

    def read(self) -> None:
        """Hand over what has arrived, without blocking."""
        library().perf_reader_event_read(self._reader)

    def close(self) -> None:
        """Free the buffer."""
        library().perf_reader_free(self._reader)
        self._reader = None


def _fd(result: int, what: str) -> int:
    if result < 0:
        raise _error(what)
    return int(result)


def _error(what: str) -> ProbeError:
    return ProbeError(f"{what}: {os.strerror(ctypes.get_errno())}")
