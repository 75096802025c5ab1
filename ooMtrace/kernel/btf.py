# SPDX-License-Identifier: Apache-2.0
"""BTF, the kernel's description of its types, indexed in one pass (Documentation/bpf/btf.rst)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

from ooMtrace.errors import BtfError

MAGIC = 0xEB9F
HEADER = struct.Struct("<HBBIIIII")
TYPE = struct.Struct("<III")

PTR, ARRAY, STRUCT, UNION, ENUM, TYPEDEF = 2, 3, 4, 5, 6, 8
VOLATILE, CONST, RESTRICT, FUNC, FUNC_PROTO, TYPE_TAG, ENUM64 = 9, 10, 11, 12, 13, 18, 19
MODIFIERS = frozenset({TYPEDEF, VOLATILE, CONST, RESTRICT, TYPE_TAG})
COMPOSITES = frozenset({STRUCT, UNION})

# Bytes that follow the common part of a type: a fixed number, and a number for each of its `vlen` entries.
FIXED_TAIL = {1: 4, ARRAY: 12, 14: 4, 17: 4}
ENTRY_TAIL = {STRUCT: 12, UNION: 12, ENUM: 8, FUNC_PROTO: 8, 15: 12, ENUM64: 12}

MAX_DEPTH = 32
"""Nested types, as in the kernel's own check (MAX_RESOLVE_DEPTH): more of them are a cycle."""

MAX_STEPS = 1_000_000
"""Types visited: about ten thousand in a real kernel. Structures that hold the next one twice take exponential time."""

P = ParamSpec("P")
T = TypeVar("T")


def _guarded(look_up: Callable[P, T]) -> Callable[P, T]:
    """Raise BtfError for corrupt data: indexing skips most of it, so a look-up may be the first to find it."""

    @wraps(look_up)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return look_up(*args, **kwargs)
        except (struct.error, IndexError, ValueError) as error:
            raise BtfError("BTF data is corrupt, a reference leads outside of it") from error

    return guarded


def _check_depth(depth: int) -> None:
    if depth > MAX_DEPTH:
        raise BtfError("BTF data is corrupt, a type contains itself")


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a structure: offset and size in bytes, and its type."""

    offset: int
    size: int
    type_id: int


class Btf:
    """The types of one kernel, restricted to some names; every look-up may raise BtfError.

    Args:
        data: The content of /sys/kernel/btf/vmlinux.
        names: Structures, unions, enums, typedefs and functions to index.

    Raises:
        BtfError: The data is not BTF, or is truncated.
    """

    @_guarded
    def __init__(self, data: bytes, names: Iterable[str]) -> None:
        self._data = data
        self._at: list[int] = [0]
        self._named: dict[tuple[int, str], int] = {}
        self._steps = 0
        self._index(set(names))

    @classmethod
    def load(cls, path: Path, names: Iterable[str]) -> Btf:
        """Read a BTF file; the BtfError that it raises names the file."""
        try:
            return cls(path.read_bytes(), names)
        except OSError as error:
            raise BtfError(f"{path}: {error.strerror}") from error
        except BtfError as error:
            raise BtfError(f"{path}: {error.fact}") from error

    def _index(self, names: set[str]) -> None:
        if len(self._data) < HEADER.size:
            raise BtfError("BTF data is truncated")
        magic, version, _, hdr_len, type_off, type_len, str_off, str_len = HEADER.unpack_from(self._data)
        if magic != MAGIC or version != 1:
            raise BtfError(f"not BTF data, magic {magic:#06x} and version {version}")
        types, self._strings = hdr_len + type_off, hdr_len + str_off
        if max(types + type_len, self._strings + str_len) > len(self._data):
            raise BtfError("BTF data is truncated")
        wanted = dict(self._name_offsets(names, self._strings + str_len))
        pos, end, data, at = types, types + type_len, self._data, self._at
        unpack = TYPE.unpack_from
        while pos < end:
            name, info, _ = unpack(data, pos)
            kind = info >> 24 & 31
            if name in wanted:
                self._named.setdefault((kind, wanted[name]), len(at))
            at.append(pos)
            pos += 12 + FIXED_TAIL.get(kind, 0) + ENTRY_TAIL.get(kind, 0) * (info & 0xFFFF)

    def _name_offsets(self, names: set[str], end: int) -> Iterator[tuple[int, str]]:
        """Yield (offset, name) by searching the string section: far cheaper than decoding all of it."""
        for name in names:
            needle = b"\0" + name.encode() + b"\0"
            found = self._data.find(needle, self._strings, end)
            while found >= 0:
                yield found + 1 - self._strings, name
                found = self._data.find(needle, found + 1, end)

    def _type(self, type_id: int) -> tuple[int, int, int, int]:
        """Return (position, kind, info, size or type) of a type."""
        self._step(1)
        pos = self._at[type_id]
        _, info, value = TYPE.unpack_from(self._data, pos)
        return pos, info >> 24 & 31, info, value

    def _step(self, count: int) -> None:
        self._steps += count
        if self._steps > MAX_STEPS:
            raise BtfError("BTF data is corrupt, too many types are nested")

    def _string(self, offset: int) -> str:
        start = self._strings + offset
        return self._data[start : self._data.index(b"\0", start)].decode("ascii", "replace")

    def _resolve(self, type_id: int) -> int:
        """Follow typedefs and qualifiers to the underlying type."""
        for _ in range(MAX_DEPTH):
            if type_id == 0 or self._type(type_id)[1] not in MODIFIERS:
                return type_id
            type_id = self._type(type_id)[3]
        raise BtfError("BTF data is corrupt, a type contains itself")

    def _size(self, type_id: int, depth: int = 0) -> int:
        _check_depth(depth)
        type_id = self._resolve(type_id)
        if type_id == 0:
            return 0
        pos, kind, _, value = self._type(type_id)
        if kind == PTR:
            return 8
        if kind == ARRAY:
            element, _, count = TYPE.unpack_from(self._data, pos + 12)
            return int(count * self._size(element, depth + 1))
        return value

    def _members(self, type_id: int, depth: int = 0) -> Iterator[tuple[str, Member]]:
        """Yield the members of a structure; members of unnamed structures inside it count as its own."""
        _check_depth(depth)
        pos, _, info, _ = self._type(type_id)
        self._step(info & 0xFFFF)
        for i in range(info & 0xFFFF):
            name, member_type, bits = TYPE.unpack_from(self._data, pos + 12 + 12 * i)
            offset = (bits & 0xFFFFFF if info >> 31 else bits) // 8
            inner = self._resolve(member_type)
            if name:
                yield self._string(name), Member(offset, self._size(inner), inner)
            elif inner and self._type(inner)[1] in COMPOSITES:
                for inner_name, member in self._members(inner, depth + 1):
                    yield inner_name, Member(offset + member.offset, member.size, member.type_id)

    def _struct(self, name: str) -> int | None:
        return self._named.get((STRUCT, name), self._named.get((UNION, name)))

    @_guarded
    def size(self, name: str) -> int | None:
        """Return the size of a structure or union in bytes; None if there is none of that name."""
        type_id = self._struct(name)
        return None if type_id is None else self._size(type_id)

    @_guarded
    def member(self, path: str) -> Member | None:
        """Return a member such as `task_struct.mm` or `uts_namespace.name.nodename`; None if there is none."""
        owner, *names = path.split(".")
        type_id, offset = self._struct(owner), 0
        found: Member | None = None
        for name in names:
            if type_id is None:
                return None
            found = next((m for n, m in self._members(type_id) if n == name), None)
            if found is None:
                return None
            type_id = found.type_id if self._type(found.type_id)[1] in COMPOSITES else None
            offset += found.offset
        return None if found is None else Member(offset, found.size, found.type_id)

    @_guarded
    def enumerator(self, enum: str, name: str) -> int | None:
        """Return the value of an enumerator of a 32-bit enum; None if there is none of that name."""
        type_id = self._named.get((ENUM, enum))
        if type_id is None:
            return None
        pos, _, info, _ = self._type(type_id)
        for i in range(info & 0xFFFF):
            name_off, value = struct.unpack_from("<Ii", self._data, pos + 12 + 8 * i)
            if self._string(name_off) == name:
                return int(value)
        return None

    def function(self, name: str) -> int | None:
        """Return the id of a function's type, by which fentry programs attach; None if there is none."""
        return self._named.get((FUNC, name))

    @_guarded
    def tracepoint_arguments(self, name: str) -> tuple[str, ...] | None:
        """Return the types of a tracepoint's arguments, such as ("task_struct *", "uid_t"); None if there is none.

        Source: typedef `btf_trace_NAME`, a pointer to a function whose first argument is the probe's private data.
        """
        type_id = self._named.get((TYPEDEF, f"btf_trace_{name}"))
        if type_id is None:
            return None
        proto = self._type(self._resolve(type_id))[3]
        pos, _, info, _ = self._type(proto)
        ids = [struct.unpack_from("<II", self._data, pos + 12 + 8 * i)[1] for i in range(info & 0xFFFF)]
        return tuple(self._type_name(i) for i in ids[1:])

    def _type_name(self, type_id: int, depth: int = 0) -> str:
        _check_depth(depth)
        if type_id == 0:
            return "void"
        pos, kind, _, value = self._type(type_id)
        name = self._string(TYPE.unpack_from(self._data, pos)[0])
        if kind == PTR:
            return f"{self._type_name(value, depth + 1)} *"
        return name or (self._type_name(value, depth + 1) if kind in MODIFIERS else "")
