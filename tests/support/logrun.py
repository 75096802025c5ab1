# SPDX-License-Identifier: Apache-2.0
"""One run of `oomtrace logs` in this process, with stdin from anywhere."""

from __future__ import annotations

import json
import os
import re
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ooMtrace.commands import logs

CORPUS = Path(__file__).parents[1] / "fixtures/kmsg"
LOG = CORPUS / "format-kern-log.log"
SUMMARY = re.compile(r"\d+ (of \d+ )?kills? in ")
OPTIONS: dict[str, Any] = {"since": None, "until": None, "process": None, "cgroup": None, "summary": False}


class Run:
    """Its exit code, its text or lines, the problems that it stated and its summary, if it had one."""

    def __init__(self, tmp_path: Path, *files: object, **options: Any) -> None:
        output = tmp_path / "lines"
        said: list[str] = []
        arguments = Namespace(
            **{**OPTIONS, "output": output, "pretty": False, "files": list(map(str, files)), **options}
        )
        self.code = logs.run(arguments, said.append)
        self.text = output.read_text()
        self.lines = [] if arguments.summary else [json.loads(line) for line in self.text.splitlines()]
        self.said = [line for line in said if not SUMMARY.match(line)]
        self.summary = "\n".join(line for line in said if SUMMARY.match(line))
        output.unlink()


@contextmanager
def stdin(source: int) -> Iterator[None]:
    """Let a file descriptor be stdin, and close it."""
    kept = os.dup(0)
    try:
        os.dup2(source, 0)
        os.close(source)
        yield
    finally:
        os.dup2(kept, 0)
        os.close(kept)


def pipe_with(content: bytes) -> int:
    """Return the end to read of a pipe with this in it; at most 64 KiB."""
    read, write = os.pipe()
    os.write(write, content)
    os.close(write)
    return read
