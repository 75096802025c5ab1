# SPDX-License-Identifier: Apache-2.0
"""Compiled BPF programs and their maps, as bytes that another process can load. Pure."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ooMtrace.errors import ProbeError
from ooMtrace.probe.digest import SIZE, hasher

MAGIC = b"oomtrace-bpf\x00\x00\x00\x03"
"""The last four bytes are the format's version."""

KEY_SIZE = SIZE
HEADER = struct.Struct(f"<16s{KEY_SIZE}s{SIZE}sI")
MAP = struct.Struct("<64sIIIII")
PROGRAM = struct.Struct("<64sIII")
RELOCATION = struct.Struct("<II")
COUNTS = struct.Struct("<HHH")
NAME = struct.Struct("<64s")
INSTRUCTION = struct.Struct("<BBhi")
LD_IMM64, PSEUDO_MAP_FD = 0x18, 1  # include/uapi/linux/bpf.h
PLACEHOLDER = 0x6B00AD00F10E0000
"""Stands for the first kernel address in compiled code, and the following numbers for the others.

No macro has such a value: those that hold names have no zero byte before another byte.
"""

MAX_SIZE = 1 << 20
"""Bytes of an image; those of today's programs have about 50,000."""


@dataclass(frozen=True, slots=True)
class MapDefinition:
    """One BPF map, as BPF_MAP_CREATE takes it.

    Attributes:
        name: Its name in the BPF source, at most 64 bytes.
        type: enum bpf_map_type.
        key_size: Bytes.
        value_size: Bytes.
        max_entries: Entries.
        flags: BPF_F_* of include/uapi/linux/bpf.h.
    """

    name: str
    type: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int


@dataclass(frozen=True, slots=True)
class Program:
    """One BPF program.

    Attributes:
        name: Its name in the BPF source; BCC's name for fentry and fexit (`kfunc__...`, `kretfunc__...`).
        code: Instructions of 8 bytes; 0 in those that load the file descriptor of a map or a kernel address.
        maps: Offset in `code` of each instruction that loads a map, and the map's position in Image.maps.
        addresses: The same of each that loads a kernel address, and its name's position in Image.addresses.
    """

    name: str
    code: bytes
    maps: tuple[tuple[int, int], ...] = ()
    addresses: tuple[tuple[int, int], ...] = ()

    def relocated(self, map_fds: Sequence[int], addresses: Sequence[int]) -> bytes:
        """Return the code with the file descriptors of the maps and the kernel addresses in it."""
        code = bytearray(self.code)
        for offset, index in self.maps:
            struct.pack_into("<i", code, offset + 4, map_fds[index])
        for offset, index in self.addresses:
            struct.pack_into("<I", code, offset + 4, addresses[index] & 0xFFFFFFFF)
            struct.pack_into("<I", code, offset + 12, addresses[index] >> 32)
        return bytes(code)


@dataclass(frozen=True, slots=True)
class Image:
    """All maps and programs of one BPF source, and the names of the kernel addresses that the programs need."""

    maps: tuple[MapDefinition, ...]
    programs: tuple[Program, ...]
    addresses: tuple[str, ...] = ()


def find_relocations(name: str, code: bytes, map_of_fd: Mapping[int, int], address_count: int) -> Program:
    """Return a program: a compiler's code with the file descriptors of its maps and the placeholders taken out.

    Args:
        name: The program's name.
        code: As compiled in this process.
        map_of_fd: File descriptor of each map -> its position in Image.maps.
        address_count: How many placeholders there are.

    Raises:
        ProbeError: The code refers to a map that is not in `map_of_fd`.
    """
    plain = bytearray(code)
    maps, addresses = [], []
    offset = 0
    while offset + 8 <= len(plain):
        opcode, registers, _, low = INSTRUCTION.unpack_from(plain, offset)
        if opcode != LD_IMM64:
            offset += 8
            continue
        (high,) = struct.unpack_from("<I", plain, offset + 12)
        placeholder = (high << 32 | low & 0xFFFFFFFF) - PLACEHOLDER
        if registers >> 4 == PSEUDO_MAP_FD:
            if low not in map_of_fd:
                raise ProbeError("the compiled code refers to an unknown map", "report this with --verbose")
            maps.append((offset, map_of_fd[low]))
            struct.pack_into("<i", plain, offset + 4, 0)
        elif registers >> 4 == 0 and 0 <= placeholder < address_count:
            addresses.append((offset, placeholder))
            struct.pack_into("<I", plain, offset + 4, 0)
            struct.pack_into("<I", plain, offset + 12, 0)
        offset += 16
    return Program(name, bytes(plain), tuple(maps), tuple(addresses))


def encode_image(image: Image, key: bytes) -> bytes:
    """Return an image as bytes, marked with the key of what it was compiled from."""
    parts = [COUNTS.pack(len(image.maps), len(image.programs), len(image.addresses))]
    for table in image.maps:
        sizes = (table.type, table.key_size, table.value_size, table.max_entries, table.flags)
        parts.append(MAP.pack(table.name.encode(), *sizes))
    parts.extend(NAME.pack(name.encode()) for name in image.addresses)
    for program in image.programs:
        lengths = (len(program.code), len(program.maps), len(program.addresses))
        parts.append(PROGRAM.pack(program.name.encode(), *lengths))
        parts.append(program.code)
        parts.extend(RELOCATION.pack(*relocation) for relocation in (*program.maps, *program.addresses))
    return seal(b"".join(parts), key)


def decode_image(data: bytes, key: bytes) -> Image:
    """Return the image in bytes from `encode_image`.

    Raises:
        ValueError: They are something else, damaged, or compiled from something else than `key` says.
    """
    reader = Reader(unseal(data, key))
    map_count, program_count, address_count = reader.unpack(COUNTS)
    maps = tuple(_map(*reader.unpack(MAP)) for _ in range(map_count))
    addresses = tuple(_name(*reader.unpack(NAME)) for _ in range(address_count))
    programs = tuple(_program(reader, map_count, address_count) for _ in range(program_count))
    if reader.left():
        raise ValueError("trailing bytes")
    return Image(maps, programs, addresses)


def seal(payload: bytes, key: bytes) -> bytes:
    """Return the payload after a header with its checksum and the key of what it was made from."""
    return HEADER.pack(MAGIC, key, hasher(payload).digest(), len(payload)) + payload


def unseal(data: bytes, key: bytes) -> bytes:
    """Return the payload of bytes from `seal`.

    Raises:
        ValueError: They are something else, damaged, or made from something else than `key` says.
    """
    if not HEADER.size <= len(data) <= MAX_SIZE:
        raise ValueError("wrong size")
    magic, found_key, digest, size = HEADER.unpack_from(data)
    payload = data[HEADER.size :]
    if magic != MAGIC:
        raise ValueError("another format")
    if found_key != key:
        raise ValueError("compiled for another kernel or version")
    if size != len(payload) or digest != hasher(payload).digest():
        raise ValueError("damaged")
    return payload


def _map(name: bytes, kind: int, key_size: int, value_size: int, max_entries: int, flags: int) -> MapDefinition:
    return MapDefinition(_name(name), kind, key_size, value_size, max_entries, flags)


def _program(reader: Reader, map_count: int, address_count: int) -> Program:
    name, size, maps, addresses = reader.unpack(PROGRAM)
    code = reader.take(size)
    if size == 0 or size % 8:
        raise ValueError("code that is not whole instructions")
    return Program(
        _name(name),
        code,
        tuple(_relocation(reader, code, PSEUDO_MAP_FD, map_count) for _ in range(maps)),
        tuple(_relocation(reader, code, 0, address_count) for _ in range(addresses)),
    )


def _relocation(reader: Reader, code: bytes, source: int, count: int) -> tuple[int, int]:
    offset, index = reader.unpack(RELOCATION)
    if offset % 8 or offset + 16 > len(code) or index >= count:
        raise ValueError("a relocation outside the code")
    if code[offset] != LD_IMM64 or code[offset + 1] >> 4 != source:
        raise ValueError("a relocation of another instruction")
    return offset, index


def _name(name: bytes) -> str:
    return name.rstrip(b"\0").decode("ascii")  # UnicodeDecodeError is a ValueError


class Reader:
    """Takes bytes from the front; ValueError where too few are left."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int) -> bytes:
        """Return the next bytes."""
        if size > self.left():
            raise ValueError("truncated")
        self._at += size
        return self._data[self._at - size : self._at]

    def unpack(self, layout: struct.Struct) -> tuple:  # type: ignore[type-arg]
        """Return the fields of the next structure."""
        return layout.unpack(self.take(layout.size))

    def left(self) -> int:
        """Return how many bytes are left."""
        return len(self._data) - self._at
