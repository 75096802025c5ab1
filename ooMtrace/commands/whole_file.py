# SPDX-License-Identifier: Apache-2.0
"""Writes a file as a whole or not at all."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from ooMtrace.errors import SinkError, UsageError

MODE = 0o640
"""Of a new file: it describes other users' processes."""


def check_target(path: Path) -> None:
    """Check that a path can be replaced by a file.

    Raises:
        UsageError: It is something else than a regular file, a symbolic link included.
        SinkError: It cannot be examined.
    """
    found = _status(path)
    if found is None or stat.S_ISREG(found.st_mode):
        return
    if stat.S_ISLNK(found.st_mode):
        raise UsageError(f"{path} is a symbolic link", "name the file that it leads to")
    raise UsageError(f"{path} is not a regular file", "name another file; without --output, stdout is written")


def write_whole(path: Path, data: bytes) -> None:
    """Replace a file atomically; it keeps its mode. A reader sees the old or the new contents.

    The name is never followed: a symbolic link that somebody puts there meanwhile is replaced.

    Raises:
        UsageError: It is something else than a regular file.
        SinkError: It cannot be written; what was there is unchanged.
    """
    check_target(path)
    found = _status(path)
    temporary = path.with_name(f".oomtrace-{os.getpid()}-{os.urandom(8).hex()}.new")
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(temporary, flags, MODE), "wb") as file:
            if found is not None:
                os.fchmod(file.fileno(), stat.S_IMODE(found.st_mode))
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            raise _failed(path, error) from error
        raise


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise _failed(path, error) from error


def _failed(path: Path, error: OSError | ValueError) -> SinkError:
    fact = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return SinkError(f"{path}: {fact}", "name another file with --output, in a directory that exists and has room")
