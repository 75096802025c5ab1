# SPDX-License-Identifier: Apache-2.0
"""Parses the memory that holds a process's arguments, or the title that it wrote over them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import NamedTuple

ARGUMENTS = 4096
"""Maximum number of bytes that are read (ARGUMENTS in bpf/events.h)."""


class Cmdline(NamedTuple):
    """A title or, without one, arguments; `cut`: there is more than was read."""

    title: str | None
    args: tuple[str, ...] | None
    cut: bool


def parse_cmdline(memory: bytes, size: int, end: int | None = 0) -> Cmdline:
    """Distinguish a title from arguments, as /proc/PID/cmdline does (get_mm_cmdline() in fs/proc/base.c).

    Args:
        memory: From mm->arg_start on, including what follows mm->arg_end if that is the environment.
        size: Bytes from arg_start to arg_end.
        end: The byte before arg_end; None: unknown. Not 0 if a title overwrote it, which may extend into the
            environment.

    A title that ends before arg_end is recognized by its shape: setproctitle(3) pads with zeros, and a lone string
    with spaces in it is not the name of a program.
    """
    if end:
        return Cmdline(_text(memory.partition(b"\0")[0]), None, cut=b"\0" not in memory and len(memory) >= ARGUMENTS)
    memory = memory[:size]
    args = memory.rstrip(b"\0").split(b"\0")
    padding = len(memory) - len(memory.rstrip(b"\0"))
    if len(args) == 1 and (padding > 1 or b" " in args[0]) and args[0]:
        return Cmdline(_text(args[0].rstrip(b" ")), None, cut=size > len(memory) and not padding)
    # An empty last argument is an argument, too.
    args = memory.removesuffix(b"\0").split(b"\0") if memory else []
    return Cmdline(None, tuple(_text(arg) for arg in args), cut=size > len(memory))


def parse_environment(memory: bytes, allowed: Iterable[str]) -> Mapping[str, str]:
    """Return the variables whose names match `allowed`: names, or patterns as in a shell (`*`, `?`).

    The memory is NAME=VALUE entries that end with a zero; a last one without is incomplete and left out.
    """
    patterns = tuple(allowed)
    pairs = (entry.partition(b"=") for entry in memory.split(b"\0")[:-1])
    named = ((_text(name), _text(value)) for name, equals, value in pairs if equals)
    return {name: value for name, value in named if any(fnmatchcase(name, pattern) for pattern in patterns)}


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")
