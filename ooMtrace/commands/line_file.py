# SPDX-License-Identifier: Apache-2.0
"""Reads the lines that oomtrace has written, one at a time and in bounded memory."""

from __future__ import annotations

import errno
import io
import lzma
import os
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ooMtrace.commands.decompress import BLOCK, DamagedError, NotTextError, text_blocks
from ooMtrace.errors import OomtraceError
from ooMtrace.explain.story import EVENTS
from ooMtrace.output.encode import load
from ooMtrace.record import SCHEMA

STDIN = "-"
LONGEST = 1 << 20
"""Bytes of a line; those of oomtrace have 8,000 at most, and indented ones some more."""

FAMILY = SCHEMA.partition("/")[0] + "/"
HINTS = {errno.ENOENT: "check the name", errno.EACCES: "become root", errno.EISDIR: "name the files in it"}


class LineFileError(OomtraceError):
    """A file cannot be read, or not to its end."""


@dataclass(frozen=True, slots=True)
class Found:
    """A line, or what is wrong with it.

    Attributes:
        number: Its place in the file, from 1; of an indented line, that of its first row.
        line: The parsed line; None if it is none.
        wrong: Why not.
    """

    number: int
    line: dict[str, Any] | None
    wrong: str = ""


def read_lines(name: str) -> Iterator[Found]:
    """Yield what a file contains, compressed or not.

    Args:
        name: A path; `-`: stdin.

    Raises:
        LineFileError: It cannot be opened, is damaged or not text.
    """
    shown = "stdin" if name == STDIN else name
    try:
        with _open(name) as file:
            for number, text in joined(numbered(text_blocks(file, name))):
                yield _parsed(number, text)
    except NotTextError as error:
        raise LineFileError(f"{shown}: {error.fact}", "name a file with oomtrace's lines, in JSON") from error
    except OSError as error:
        raise LineFileError(f"{shown}: {error.strerror or error}", HINTS.get(error.errno or 0, "")) from error
    except (EOFError, zlib.error, lzma.LZMAError, DamagedError) as error:
        raise LineFileError(f"{shown}: damaged: {error}", "the lines up to there are used") from error


def _open(name: str) -> io.BufferedReader:
    fd = os.dup(0) if name == STDIN else os.open(Path(name), os.O_RDONLY | os.O_CLOEXEC)
    return io.BufferedReader(io.FileIO(fd, "rb"), BLOCK)


def numbered(blocks: Iterable[bytes]) -> Iterator[tuple[int, bytes | None]]:
    """Yield rows of text and their numbers, from 1; None in place of one that is longer than LONGEST."""
    rest, number, is_long = b"", 1, False
    for block in blocks:
        *rows, tail = block.split(b"\n")
        for row in rows:
            whole = rest + row
            yield number, None if is_long or len(whole) > LONGEST else whole
            rest, number, is_long = b"", number + 1, False
        is_long = is_long or len(rest) + len(tail) > LONGEST
        rest = b"" if is_long else rest + tail
    if rest or is_long:
        yield number, None if is_long else rest


def joined(rows: Iterable[tuple[int, bytes | None]]) -> Iterator[tuple[int, bytes | None]]:
    """Join the rows of an indented object, from `{` to `}` at the margin; leave out empty rows."""
    begun, parts, length = 0, list[bytes](), 0
    for number, row in rows:
        if parts and row is not None and length <= LONGEST and row.strip() and row[:1] in b" \t}":
            parts.append(row)
            length += len(row)
            if row.rstrip() == b"}":
                yield begun, b"\n".join(parts)
                parts = []
            continue
        if parts:  # it has no end: what follows is read on its own
            yield begun, None if length > LONGEST else b"\n".join(parts)
            parts = []
        if row is not None and row.rstrip() == b"{":
            begun, parts, length = number, [row], 1
        elif row is None or row.strip():
            yield number, row
    if parts:
        yield begun, b"\n".join(parts)


def _parsed(number: int, text: bytes | None) -> Found:
    if text is None:
        return Found(number, None, "it is longer than 1 MiB")
    try:
        line = load(text)
    except ValueError:
        return Found(number, None, "it is not JSON")
    if not isinstance(line, dict):
        return Found(number, None, "it is not a JSON object")
    schema, event = line.get("schema"), line.get("event")
    if not isinstance(schema, str) or not schema.startswith(FAMILY):
        return Found(number, None, f"it has no schema {SCHEMA}")
    if schema != SCHEMA:
        return Found(number, None, f"its schema is {schema[:40]}, and this version knows {SCHEMA}")
    if event not in EVENTS:
        return Found(number, None, "its event is not known to this version")
    return Found(number, line)
