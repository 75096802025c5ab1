# SPDX-License-Identifier: Apache-2.0
"""From the memory that holds a process's arguments to the arguments, or to the title written over them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import NamedTuple

ARGUMENTS = 4096
"""Bytes that are read at most."""


class Cmdline(NamedTuple):
    """What a process says it is: a title, or else its arguments; `cut` if there is more than was read."""

    title: str | None
    args: tuple[str, ...] | None
    cut: bool


def parse_cmdline(memory: bytes, size: int, end: int | None = 0) -> Cmdline:
    """Tell a title from arguments, as /proc/PID/cmdline does (get_mm_cmdline() in fs/proc/base.c).

    Args:
        memory: From mm->arg_start on, with what lies behind mm->arg_end if that is the environment.
        size: Bytes from arg_start to arg_end.
        end: The byte before arg_end; not 0 if a title was written over it, and it may go on in the environment.

    A title that ends before arg_end is told by what it leaves: setproctitle(3) pads with zeros, and what was one string
    with spaces in it was never an argument.
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
    """Return the variables whose names are allowed; `*` and `?` stand for any characters, as in a shell."""
    patterns = tuple(allowed)
    pairs = (entry.partition(b"=") for entry in memory.split(b"\0")[:-1])
    named = ((_text(name), _text(value)) for name, equals, value in pairs if equals)
    return {name: value for name, value in named if any(fnmatchcase(name, one) for one in patterns)}


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")
