# SPDX-License-Identifier: Apache-2.0
"""`oomtrace report`: one HTML page about many lines that oomtrace has written."""

from __future__ import annotations

import os
from argparse import Namespace
from contextlib import closing, suppress
from pathlib import Path

from ooMtrace.commands import Say
from ooMtrace.commands.line_file import STDIN, LineFileError, read_lines
from ooMtrace.commands.log_file import stdin_has_log
from ooMtrace.commands.whole_file import check_target, write_whole
from ooMtrace.errors import OomtraceError, UsageError
from ooMtrace.output.stream import StreamSink
from ooMtrace.report.aggregate import Aggregate
from ooMtrace.report.page import page
from ooMtrace.report.rest import Source

MOST_MESSAGES = 10
"""About what is no line, for each file; the others are counted."""

EXAMPLES = 3
"""Of these in the page, for each file."""


class NothingReadError(OomtraceError):
    """No file could be read."""


def run(arguments: Namespace, say: Say) -> int:
    """Read all files, and write the page.

    Returns:
        1 if a file could not be read to its end, or has anything that is no line of oomtrace; the page states it.

    Raises:
        UsageError: There is no file to read, or no file to write to.
        NothingReadError: There is not a single line, and not all files could be read: the old page is better.
        SinkError: The page cannot be written.
    """
    names = arguments.files or ([STDIN] if stdin_has_log() else [])
    if not names:
        raise UsageError("report needs files with oomtrace's lines", "oomtrace report FILE... --output report.html")
    _check_output(arguments.output, names)
    found = Aggregate()
    sources = [_read(name, found, say) for name in names]
    if not any(source.lines for source in sources) and any(source.error for source in sources):
        raise NothingReadError(
            "there is not a single line to report on, so no page was written", "see the messages above"
        )
    document = page(found, sources)
    if arguments.output is not None:
        write_whole(arguments.output, document)
    else:
        with closing(StreamSink()) as sink:
            sink.write(document)
    return 1 if any(source.error or source.wrong for source in sources) else 0


def _check_output(output: Path | None, names: list[str]) -> None:
    """Refuse before all is read what cannot be written afterwards."""
    if output is None:
        with suppress(OSError):
            if os.isatty(1):
                raise UsageError("the report is HTML, and stdout is a terminal", "name a file: --output report.html")
        return
    check_target(output)
    for name in names:
        with suppress(OSError, ValueError):
            if name != STDIN and output.exists() and output.samefile(name):
                raise UsageError(f"--output {output} is one of the files to read", "name another file with --output")


def _read(name: str, found: Aggregate, say: Say) -> Source:
    """Count the lines of a file; say what is no line."""
    shown, lines, wrong, error = "stdin" if name == STDIN else name, 0, 0, ""
    examples: list[str] = []
    try:
        for one in read_lines(name):
            if one.line is not None:
                lines += 1
                found.add(one.line)
                continue
            wrong += 1
            if wrong <= MOST_MESSAGES:
                say(f"{shown}, line {one.number} is no line of oomtrace: {one.wrong}; left out")
            if wrong <= EXAMPLES:
                examples.append(f"line {one.number}: {one.wrong}")
    except LineFileError as failure:
        say(str(failure))
        error = f"no: {failure.fact.removeprefix(f'{shown}: ')}"
    else:
        if not lines and not wrong:
            say(f"{shown} is empty: it has no lines of oomtrace")
    if wrong > MOST_MESSAGES:
        say(f"{shown}: {wrong - MOST_MESSAGES:,} more are no lines of oomtrace; left out")
    return Source(shown, lines, wrong, tuple(examples), error)
