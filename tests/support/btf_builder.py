# SPDX-License-Identifier: Apache-2.0
"""Builds BTF (Documentation/bpf/btf.rst) of a few types."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence

HEADER = struct.Struct("<HBBIIIII")
INT, PTR, ARRAY, STRUCT, UNION, ENUM, TYPEDEF, CONST, FUNC, FUNC_PROTO = 1, 2, 3, 4, 5, 6, 8, 10, 12, 13


class BtfBuilder:
    """Every method adds a type and returns its id, from 1; 0 is void."""

    def __init__(self) -> None:
        self._types: list[bytes] = []
        self._strings = bytearray(1)

    def _string(self, text: str) -> int:
        if not text:
            return 0
        self._strings += text.encode() + b"\0"
        return len(self._strings) - len(text.encode()) - 1

    def _add(self, kind: int, name: str, entries: int, value: int, tail: bytes = b"", *, flag: bool = False) -> int:
        info = flag << 31 | kind << 24 | entries
        self._types.append(struct.pack("<III", self._string(name), info, value) + tail)
        return len(self._types)

    def integer(self, size: int, name: str = "int") -> int:
        return self._add(INT, name, 0, size, struct.pack("<I", size * 8))

    def pointer(self, to: int) -> int:
        return self._add(PTR, "", 0, to)

    def array(self, element: int, count: int) -> int:
        return self._add(ARRAY, "", 0, 0, struct.pack("<III", element, element, count))

    def typedef(self, name: str, to: int) -> int:
        return self._add(TYPEDEF, name, 0, to)

    def const(self, to: int) -> int:
        return self._add(CONST, "", 0, to)

    def composite(self, kind: int, name: str, size: int, members: Sequence[tuple[str, int, int]]) -> int:
        """Add a struct or union; a member is (name, type, offset in bytes)."""
        tail = b"".join(struct.pack("<III", self._string(n), t, at * 8) for n, t, at in members)
        return self._add(kind, name, len(members), size, tail)

    def struct(self, name: str, size: int, members: Sequence[tuple[str, int, int]]) -> int:
        return self.composite(STRUCT, name, size, members)

    def union(self, name: str, size: int, members: Sequence[tuple[str, int, int]]) -> int:
        return self.composite(UNION, name, size, members)

    def struct_with_bitfields(self, name: str, size: int, members: Sequence[tuple[str, int, int, int]]) -> int:
        """A member is (name, type, offset in bits, width in bits)."""
        tail = b"".join(struct.pack("<III", self._string(n), t, width << 24 | at) for n, t, at, width in members)
        return self._add(STRUCT, name, len(members), size, tail, flag=True)

    def enum(self, name: str, values: Mapping[str, int]) -> int:
        tail = b"".join(struct.pack("<Ii", self._string(n), value) for n, value in values.items())
        return self._add(ENUM, name, len(values), 4, tail)

    def prototype(self, *arguments: int) -> int:
        return self._add(
            FUNC_PROTO, "", len(arguments), 0, b"".join(struct.pack("<II", 0, argument) for argument in arguments)
        )

    def function(self, name: str, prototype: int) -> int:
        return self._add(FUNC, name, 0, prototype)

    def blob(self) -> bytes:
        return assemble(b"".join(self._types), bytes(self._strings))


def assemble(types: bytes, strings: bytes) -> bytes:
    """Prepend the header for these two sections."""
    return HEADER.pack(0xEB9F, 1, 0, HEADER.size, 0, len(types), len(types), len(strings)) + types + strings


def sections(blob: bytes) -> tuple[bytes, bytes]:
    """Return the two sections of what `assemble` returned."""
    *_, header, _, types, _, strings = HEADER.unpack_from(blob)
    return blob[header : header + types], blob[header + types : header + types + strings]


def add_members(builder: BtfBuilder, members: Iterable[tuple[str, int, int]]) -> None:
    """Add the structures that have these members: (path such as `uts_namespace.name.nodename`, offset, size).

    A structure inside another begins with its first member.
    """
    trees: dict[str, dict[str, list[tuple[str, int, int]]]] = {}
    for path, offset, size in members:
        owner, first, *rest = path.split(".")
        trees.setdefault(owner, {}).setdefault(first, []).append((".".join(rest), offset, size))
    for owner, tree in trees.items():
        built = []
        for first, parts in tree.items():
            start = min(offset for _, offset, _ in parts)
            if parts[0][0]:
                inner = [(name, builder.integer(size), offset - start) for name, offset, size in parts]
                built.append((first, builder.struct("", 8192, inner), start))
            else:
                built.append((first, builder.integer(parts[0][2]), start))
        builder.struct(owner, 16384, built)
