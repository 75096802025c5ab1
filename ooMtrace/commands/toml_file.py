# SPDX-License-Identifier: Apache-2.0
"""Reads a TOML file that decides what root does."""

from __future__ import annotations

import os
import stat
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from ooMtrace.errors import UsageError

LIMIT = 1 << 16
"""Bytes: the parser's time grows with the square of some files."""
NOWHERE = os.makedev(1, 3)
"""/dev/null: a file without keys, although all users may write to it."""
PARSERS = ("tomllib", "tomli")
"""Python's own since 3.11; before, the package of which it is a copy."""


def read_toml(file: Path, *, is_required: bool) -> dict[str, Any]:
    """Return the keys of a file; one that does not exist has none unless it is required.

    Raises:
        UsageError: It cannot be read, has no TOML, or users other than root may write to it and this is root.
    """
    text = _read(file, is_required=is_required)
    if not text:
        return {}
    try:
        table: dict[str, Any] = _toml().loads(text)
    except RecursionError:
        raise UsageError(f"{file}: lists or tables are nested too deeply", "see `oomtrace --help`") from None
    except ValueError as error:
        raise UsageError(f"{file}: not TOML: {error}", "correct it; strings need quotes") from error
    except ImportError:
        fact = f"{file}: reading it needs Python 3.11 or the package tomli, and this Python has neither"
        raise UsageError(fact, "install python3-tomli, or use options and remove the file") from None
    return table


def _read(file: Path, *, is_required: bool) -> str:
    """Return the text of the file. What root reads here decides what root does: nobody else may be able to write it."""
    try:
        fd = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except FileNotFoundError:
        if is_required:
            raise UsageError(f"{file}: does not exist", "name a file that does with --config") from None
        return ""
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}", "make it readable, or name another file with --config") from error
    try:
        status = os.fstat(fd)
        if stat.S_ISCHR(status.st_mode) and status.st_rdev == NOWHERE:
            return ""
        _check_file(file, status)
        content = os.read(fd, LIMIT + 1)
    finally:
        os.close(fd)
    if len(content) > LIMIT:
        raise UsageError(f"{file}: is larger than {LIMIT >> 10} KiB", "remove what is not an option from it")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{file}: byte {error.start} is not UTF-8", "save it as UTF-8") from error


def _check_file(file: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise UsageError(f"{file}: is not a regular file", "name another file with --config")
    if os.geteuid() == 0 and status.st_uid != 0:
        raise UsageError(f"{file}: belongs to user {status.st_uid}, not to root", f"run: chown root: {file}")
    if os.geteuid() == 0 and status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise UsageError(f"{file}: users other than root can write to it", f"run: chmod go-w {file}")


def _toml() -> ModuleType:
    for name in PARSERS[:-1]:
        try:
            return import_module(name)
        except ImportError:
            continue
    return import_module(PARSERS[-1])
