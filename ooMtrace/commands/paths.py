# SPDX-License-Identifier: Apache-2.0
"""Files that a command writes must not be one another: the ready file is removed, and the checkpoint replaced."""

from __future__ import annotations

import os
from argparse import Namespace
from pathlib import Path

from ooMtrace.errors import UsageError
from ooMtrace.output.url import OutputUrl

STDOUT = 1
WRITTEN = ("stdout", "file", "prometheus")


def check_paths(arguments: Namespace) -> None:
    """Compare --output (or stdout), --ready-file and --state: by what they are, and by name what does not exist yet.

    Raises:
        UsageError: Two of them are the same file, or one is in the state directory.
    """
    outputs = _files_of(getattr(arguments, "output", None))
    ready: Path | None = getattr(arguments, "ready_file", None)
    state: Path | None = getattr(arguments, "state", None)
    for place, output in enumerate(outputs):
        if ready is not None and _is_same(ready, output):
            name = "stdout" if output == STDOUT else "--output"
            raise UsageError(f"--ready-file and {name} are the same file, {ready}", "choose another --ready-file")
        if any(_is_same(Path(output), other) for other in outputs[:place] if isinstance(output, Path)):
            raise UsageError(f"--output {output} is the same file as another --output", "leave out one of them")
    files = [("--output", output) for output in outputs if isinstance(output, Path)]
    for option, path in (*files, ("--ready-file", ready)):
        if path is not None and state is not None and _is_inside(path, state):
            raise UsageError(f"{option} {path} is in the state directory, {state}", f"choose another {option}")


def writes_stdout(arguments: Namespace) -> bool:
    """Say whether a command writes to stdout."""
    return STDOUT in _files_of(getattr(arguments, "output", None))


def _files_of(given: Path | list[OutputUrl] | None) -> list[Path | int]:
    """Return the files among the outputs, and STDOUT if it is one of them."""
    if not isinstance(given, list):
        return [STDOUT if given is None else given]
    return [STDOUT if url.scheme == "stdout" else Path(url.path) for url in given if url.scheme in WRITTEN]


def _is_same(one: Path, other: Path | int) -> bool:
    if (identity := _identity(one)) is not None and identity == _identity(other):
        return True
    return isinstance(other, Path) and os.path.realpath(one) == os.path.realpath(other)


def _is_inside(path: Path, directory: Path) -> bool:
    """Say whether a path is a directory, below it, or a hard link to a file in it."""
    real = Path(os.path.realpath(path))
    if any(_is_same(place, directory) for place in (real, *real.parents)):
        return True
    identity = _identity(path)
    return identity is not None and identity in {_identity(file) for file in _files(directory)}


def _files(directory: Path) -> list[Path]:
    try:
        return list(directory.iterdir())
    except OSError:  # it does not exist yet
        return []


def _identity(file: Path | int) -> tuple[int, int] | None:
    try:
        status = os.stat(file)  # noqa: PTH116 (a file descriptor has no Path)
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino
