# SPDX-License-Identifier: Apache-2.0
"""The form of a rule on job systems, and the words of which its patterns are made. Data only.

`command` is the title or, without one, the arguments, with a zero between each two: a gap is a space or a zero. The
patterns take linear time, for the victim chose the text: they begin at the start or at a gap, and what repeats can be
read in one way only.
"""

from __future__ import annotations

from dataclasses import dataclass

S, W, END = r"[\0 ]", r"[^\0 ]", r"(?:[\0 ]|\Z)"
"""A gap, a character of a word, and where a word ends."""

PATH = rf"(?:(?!-){W}*/)?"
OPTIONS = rf"(?:-(?:%s){S}{W}+{S}|-(?!(?:%s){S}){W}*{S})*"
"""Any options; those named have a value in the next word."""

# What `-e`, `-c` or `-m` run is no script: the program's name does not follow there.
RUBY_OPTIONS = OPTIONS % ("[rICE]", "[rICE]|[A-Za-z]*e")
RUBY = rf"\A(?:{PATH}ruby[0-9.]*{S}{RUBY_OPTIONS})?(?:{PATH}bundle[0-9.]*{S}exec{S})?{PATH}"
PYTHON_OPTIONS = OPTIONS % ("[WX]", "[WXcm]")
PYTHON = rf"\A(?:{PATH}(?:python|pypy)[0-9.]*{S}{PYTHON_OPTIONS})?(?:-m{S}|{PATH})"
RAKE = rf"{RUBY}(?:rake|rails){S}(?:{W}+{S})*?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How to know a worker.

    A pattern goes with what it looks at: `command`, `comm`, `cgroup` or `environment.KEY`. Its groups are named after
    the fields of the record's Job, or after nothing but a part of the key.

    Attributes:
        system: Whose worker it is.
        role: What it does there, unless a group says so.
        where: All of these must be found.
        also: What these find is added; what was found first stays.
        join: Templates of the key; the first one counts of which every part is known. Besides the groups there are
            `hostname` and `pid`, as the worker saw them, and `parent`: the pid of the process that it was forked from.
        registry: Where that key is looked up.
    """

    system: str
    role: str | None = None
    where: tuple[tuple[str, str], ...]
    also: tuple[tuple[str, str], ...] = ()
    join: tuple[str, ...] = ()
    registry: str | None = None
