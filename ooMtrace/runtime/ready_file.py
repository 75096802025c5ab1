# SPDX-License-Identifier: Apache-2.0
"""A file that says to others that the probes are attached."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ooMtrace.errors import SinkError


@contextmanager
def ready_file(path: Path | None) -> Iterator[None]:
    """Keep a file with our pid as long as the probes are attached; None: none.

    Raises:
        SinkError: It can't be created.
    """
    if path is None:
        yield
        return
    try:
        _create(path, f"{os.getpid()}\n".encode())
    except OSError as error:
        raise SinkError(f"{path}: {error.strerror}", "choose another --ready-file") from error
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink()


def _create(path: Path, text: bytes) -> None:
    """Write a new file in place of one that was left behind; the target of a symbolic link is never touched."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        os.write(file, text)
    finally:
        os.close(file)
