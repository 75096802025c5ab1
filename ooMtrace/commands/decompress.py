# SPDX-License-Identifier: Apache-2.0
"""From a file to UTF-8 text: compression and encoding are detected by its first bytes, whatever its name."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import shlex
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from importlib import import_module
from typing import Any, Protocol

from ooMtrace.errors import OomtraceError

BLOCK = 1 << 20
LONGEST_MAGIC = 8
XZ_MEMORY = 128 << 20
"""Bytes. `xz -9` needs 65 MiB; a hostile file may ask for 4 GiB."""

ZSTD_MODULES = ("compression.zstd", "backports.zstd")
"""In Python from 3.14 on; the same for older ones. Neither decodes a window of more than 128 MiB."""

NOT_TEXT = (
    (b"LPKSHHRH", "binary journal", "journalctl --file {} -k -o short-iso | oomtrace logs -"),
    (b"\x7fELF", "program or core dump", "name a text log"),
    (b"PK\x03\x04", "zip archive", "unzip -p {} | oomtrace logs -"),
    (b"\x04\x22\x4d\x18", "lz4 file", "lz4 -dc {} | oomtrace logs -"),
    (b"\x1f\x9d", "file of compress(1)", "zcat {} | oomtrace logs -"),
    (b"LZIP", "lzip file", "lzip -dc {} | oomtrace logs -"),
)
"""First bytes, what such a file is, and what to do."""

TOO_MUCH_MEMORY = "decompression needs more than 128 MiB of memory"
UTF_16 = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}


class NotTextError(OomtraceError):
    """The file holds no text that can be read here."""


class DamagedError(Exception):
    """The compressed data is damaged, says a module whose exceptions are known only when it is loaded."""


class _Decoder(Protocol):
    """What lzma and the zstd modules have in common: decodes one stream or frame."""

    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int) -> bytes: ...


def text_blocks(file: io.BufferedReader, name: str) -> Iterator[bytes]:
    """Yield the file's text as UTF-8, in blocks of at most a few MiB.

    Args:
        file: Compressed or not.
        name: The file's path for the command in the error's hint; `-`: stdin.

    Raises:
        NotTextError: The file is of a known binary kind, or cannot be decompressed here.
        EOFError, OSError, zlib.error, lzma.LZMAError, DamagedError: It is damaged.
    """
    shown = "FILE" if name == "-" else shlex.quote(name)
    blocks = (block for block in _plain_blocks(file, shown) if block)
    first = next(blocks, b"")
    while 0 < len(first) < LONGEST_MAGIC and (block := next(blocks, b"")):
        first += block
    _refuse_binary(first, shown)
    if first:
        yield from _utf8(first, blocks)


def _plain_blocks(file: io.BufferedReader, shown: str) -> Iterator[bytes]:
    magic = file.peek(LONGEST_MAGIC)
    if magic.startswith(b"\x1f\x8b"):
        return _read(gzip.GzipFile(fileobj=file))
    if magic.startswith(b"BZh"):
        return _read(bz2.BZ2File(file))
    if magic.startswith(b"\xfd7zXZ\0"):
        return _xz(file, shown)
    if magic.startswith(b"\x28\xb5\x2f\xfd"):
        return _zstd(file, shown)
    return _read(file)


def _read(file: io.BufferedReader | gzip.GzipFile | bz2.BZ2File) -> Iterator[bytes]:
    while block := file.read1(BLOCK):
        yield block


def _xz(file: io.BufferedReader, shown: str) -> Iterator[bytes]:
    try:
        yield from _streams(file, lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, XZ_MEMORY))
    except lzma.LZMAError as error:
        if "limit" in str(error):
            raise NotTextError(TOO_MUCH_MEMORY, f"xz -dc {shown} | oomtrace logs -") from error
        raise


def _zstd(file: io.BufferedReader, shown: str) -> Iterator[bytes]:
    zstd = _zstd_module()
    if zstd is None:
        raise NotTextError("no library for zstd is installed", f"zstd -dc {shown} | oomtrace logs -")
    try:
        yield from _streams(file, zstd.ZstdDecompressor)
    except zstd.ZstdError as error:
        if "memory" in str(error):
            raise NotTextError(TOO_MUCH_MEMORY, f"zstd --long=31 -dc {shown} | oomtrace logs -") from error
        raise DamagedError(str(error)) from error


def _zstd_module() -> Any:  # noqa: ANN401 - one of two modules with the same interface, perhaps neither is there
    for name in ZSTD_MODULES:
        with suppress(ImportError):
            return import_module(name)
    return None


def _streams(file: io.BufferedReader, new_decoder: Callable[[], _Decoder]) -> Iterator[bytes]:
    """Decode streams one after the other; a file may have several, with zeros between them."""
    data = file.read1(BLOCK)
    while data:
        decoder = new_decoder()
        while not decoder.eof:
            if decoder.needs_input and not data:
                data = file.read1(BLOCK)
                if not data:
                    raise EOFError("it ends in the middle of the compressed data")
            yield decoder.decompress(data, BLOCK)
            data = b""
        data = decoder.unused_data.lstrip(b"\0")
        while not data and (block := file.read1(BLOCK)):
            data = block.lstrip(b"\0")


def _refuse_binary(first: bytes, shown: str) -> None:
    for magic, kind, hint in NOT_TEXT:
        if first.startswith(magic):
            raise NotTextError(f"not text but a {kind}", hint.format(shown))


def _utf8(first: bytes, blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Drop a byte order mark; convert UTF-16, as Windows programs save what was copied from a terminal."""
    encoding = UTF_16.get(first[:2])
    if encoding is None:
        yield first.removeprefix(codecs.BOM_UTF8)
        yield from blocks
        return
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    yield decoder.decode(first[2:]).encode("utf-8", "replace")
    for block in blocks:
        yield decoder.decode(block).encode("utf-8", "replace")
