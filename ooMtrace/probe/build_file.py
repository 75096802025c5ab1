# SPDX-License-Identifier: Apache-2.0
"""What is known of a kernel's build, as bytes for the cache. Pure."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping

from ooMtrace.kernel.build import Build, Types
from ooMtrace.kernel.offsets import Offsets
from ooMtrace.probe.image import Reader, seal, unseal

COUNT = struct.Struct("<H")
NUMBER, PAIR = struct.Struct("<q"), struct.Struct("<qq")
NONE = 0xFFFF
"""In place of a count: there is no such list."""

NO_ID = -1


def encode_build(build: Build, key: bytes) -> bytes:
    """Return it as bytes, marked with the key of what it was read from."""
    types = build.types
    parts = (
        _table(types.offsets.macros if types.offsets else None),
        _texts(types.offsets.lacking if types.offsets else None),
        _texts(types.mark_victim),
        _texts(types.cgroup_mkdir),
        NUMBER.pack(NO_ID if types.oom_kill_process is None else types.oom_kill_process),
        _texts(build.symbols),
        b"".join(PAIR.pack(start, end) for start, end in build.symbols.values()),
    )
    return seal(b"".join(parts), key)


def decode_build(data: bytes, key: bytes) -> Build:
    """Return what `encode_build` has written.

    Raises:
        ValueError: The bytes are something else, damaged, or from something else than `key` says.
    """
    reader = Reader(unseal(data, key))
    macros, lacking = _read_table(reader), _read_texts(reader)
    mark_victim, cgroup_mkdir = _read_texts(reader), _read_texts(reader)
    (id_,) = reader.unpack(NUMBER)
    symbols = {name: reader.unpack(PAIR) for name in _read_texts(reader) or ()}
    if reader.left():
        raise ValueError("trailing bytes")
    return Build(
        Types(
            offsets=None if macros is None else Offsets(macros, lacking or ()),
            mark_victim=mark_victim,
            cgroup_mkdir=cgroup_mkdir,
            oom_kill_process=None if id_ == NO_ID else id_,
        ),
        symbols,
    )


def _texts(values: Iterable[str] | None) -> bytes:
    if values is None:
        return COUNT.pack(NONE)
    texts = [value.encode() for value in values]
    return b"".join((COUNT.pack(len(texts)), *(COUNT.pack(len(text)) + text for text in texts)))


def _read_texts(reader: Reader) -> tuple[str, ...] | None:
    (count,) = reader.unpack(COUNT)
    if count == NONE:
        return None
    return tuple(reader.take(*reader.unpack(COUNT)).decode() for _ in range(count))


def _table(values: Mapping[str, int] | None) -> bytes:
    return _texts(values) + b"".join(map(NUMBER.pack, (values or {}).values()))


def _read_table(reader: Reader) -> dict[str, int] | None:
    names = _read_texts(reader)
    return None if names is None else {name: reader.unpack(NUMBER)[0] for name in names}
