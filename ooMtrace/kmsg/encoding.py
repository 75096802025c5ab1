# SPDX-License-Identifier: Apache-2.0
"""From bytes as they lie on a disk to lines in UTF-8. Pure."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator

MAX_LINE = 1 << 20
"""Bytes; the rest of a longer line is read as a line of its own."""

MAX_RECORD = 1 << 16
"""Bytes of a record with fields that are searched for its beginning."""

FIELD = re.compile(rb'[ \t]{0,64}"[A-Za-z_]{1,64}"[ \t]{0,8}:|(?:    )?_{0,2}[A-Z][A-Z0-9_]*=')

UTF16 = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
LINE_JUNK = b"\0\r\xef\xbb\xbf\xff\xfe"
"""Before a line: NULs after a power loss, and byte order marks where files were concatenated."""


def to_utf8(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Convert a log in UTF-16, which Windows' shells write, if it begins with its mark; others are left as they are."""
    rest = iter(blocks)
    first = b""
    while len(first) < len(codecs.BOM_UTF16_LE) and (block := next(rest, b"")):
        first += block
    encoding = UTF16.get(first[:2])
    if encoding is None:
        yield first
        yield from rest
        return
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    yield decoder.decode(first[2:]).encode()
    for block in rest:
        yield decoder.decode(block).encode("utf-8", "replace")


def whole_lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Split blocks at the ends of lines, and not within a record of fields."""
    rest = b""
    for block in blocks:
        end = before_fields(block, block.rfind(b"\n") + 1)
        if end:
            yield rest + block[:end]
            rest = block[end:]
        else:
            rest = (rest + block).lstrip(b"\0")
        if len(rest) > MAX_LINE:
            yield rest
            rest = b""
    if rest:
        yield rest


def before_fields(block: bytes, end: int) -> int:
    """Return where the lines with fields begin that end at `end`; `end` if there are none."""
    least = max(end - MAX_RECORD, 0)
    begin = end
    while begin > least and FIELD.match(block, start := block.rfind(b"\n", 0, begin - 1) + 1):
        begin = start
    return begin if begin > least else end


def to_text(line: bytes) -> str:
    """Decode a line without what does not belong to it."""
    line = line.rstrip(b"\r")
    if line[:1] in LINE_JUNK:
        line = line.lstrip(LINE_JUNK)
    return line.decode("utf-8", "backslashreplace")
