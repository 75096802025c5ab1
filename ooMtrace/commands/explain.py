# SPDX-License-Identifier: Apache-2.0
"""`oomtrace explain`: the story of each kill, for people, from the lines that oomtrace has written."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from ooMtrace.commands import Say
from ooMtrace.commands.formats import takes_color
from ooMtrace.commands.line_file import STDIN, LineFileError, read_lines
from ooMtrace.commands.log_file import stdin_has_log
from ooMtrace.errors import OomtraceError, UsageError
from ooMtrace.explain.facts import clean
from ooMtrace.explain.history import History
from ooMtrace.explain.story import explain
from ooMtrace.output.stream import StreamSink

DEFAULT = Path("/var/log/oomtrace/oomtrace.log")
MOST_MESSAGES = 10
"""About what is no line, for each file; the others are counted."""

Line = Mapping[str, Any]


class NoLineError(OomtraceError):
    """No line has the id that was asked for."""


def run(arguments: Namespace, say: Say) -> int:
    """Explain the lines of files, of stdin, or those with certain ids.

    Returns:
        1 if a file could not be read to its end, or has anything that is no line of oomtrace.

    Raises:
        UsageError: There is neither a file nor an id.
        NoLineError: No line has the id.
    """
    source = arguments.lines or DEFAULT
    files, ids = _sorted(arguments.operands)
    if not arguments.operands:
        files = [_default(arguments.lines)]
    reader = _Reader(say)
    with closing(StreamSink()) as sink:
        writer = _Writer(sink)
        for name in files:
            reader.read(name, writer.write)
        if ids:
            _explain_ids(reader, writer, ids, str(source))
    return 1 if reader.failed else 0


def _sorted(operands: Iterable[str]) -> tuple[list[str], list[str]]:
    """Tell files from ids: an id names no file and has no slash."""
    files: list[str] = []
    ids: list[str] = []
    for one in operands:
        is_file = one == STDIN or "/" in one or Path(one).exists()
        (files if is_file else ids).append(one)
    return files, ids


def _default(lines: Path | None) -> str:
    """Return what to read without an operand: the file of --from, stdin if something is piped in, or the log."""
    if lines is not None:
        return str(lines)
    if stdin_has_log():
        return STDIN
    if not DEFAULT.exists():
        raise UsageError(f"{DEFAULT} does not exist", "name a file with oomtrace's lines: oomtrace explain FILE")
    return str(DEFAULT)


def _explain_ids(reader: _Reader, writer: _Writer, ids: list[str], source: str) -> None:
    left = set(ids)

    def write(line: Line, earlier: str) -> None:
        oom = line.get("oom")
        names = (line.get("id"), oom.get("incident") if isinstance(oom, dict) else None)
        if any(one in names for one in ids):
            left.difference_update(one for one in ids if one in names)
            writer.write(line, earlier)

    reader.read(source, write)
    names = ", ".join(clean(one) for one in ids if one in left)
    if left and reader.unread:
        raise NoLineError(
            f"{names} is no file, so it was to be looked up there as an id", "name the file with --from FILE"
        )
    if left:
        fact = f"{names} is no file, and {source} has no line with that id"
        raise NoLineError(fact, "name another file with --from FILE")


class _Writer:
    """Writes explanations, with an empty line between two."""

    def __init__(self, sink: StreamSink) -> None:
        self._sink = sink
        self._color = takes_color(sink.fd)
        self._begun = False

    def write(self, line: Line, earlier: str) -> None:
        """Write the explanation of a line."""
        text = explain(line, earlier=earlier, color=self._color)
        self._sink.write((f"\n{text}" if self._begun else text).encode("utf-8", "backslashreplace"))
        self._begun = True


class _Reader:
    """Reads files one after the other.

    Attributes:
        failed: Whether there was something that is no line.
        unread: Whether a file could not be read to its end.
    """

    def __init__(self, say: Say) -> None:
        self._say = say
        self._history = History()
        self.failed = self.unread = False

    def read(self, name: str, take: Callable[[Line, str], None]) -> None:
        """Pass on each line of a file, and what its cause had killed before; say what is no line."""
        shown, lines, wrong = "stdin" if name == STDIN else name, 0, 0
        try:
            for found in read_lines(name):
                if found.line is not None:
                    lines += 1
                    take(found.line, self._history.add(found.line))
                    continue
                wrong += 1
                if wrong <= MOST_MESSAGES:
                    self._say(f"{shown}, line {found.number} is no line of oomtrace: {found.wrong}; skipped")
        except LineFileError as error:
            self._say(str(error))
            self.failed = self.unread = True
        else:
            if not lines and not wrong:
                self._say(f"{shown} is empty: it has no lines of oomtrace yet")
        if wrong > MOST_MESSAGES:
            self._say(f"{shown}: {wrong - MOST_MESSAGES:,} more are no lines of oomtrace; skipped")
        self.failed = self.failed or wrong > 0
