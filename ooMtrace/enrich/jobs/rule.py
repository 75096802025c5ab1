# SPDX-License-Identifier: Apache-2.0
"""The form of a rule, and the building blocks of its patterns. Data only.

`cmdline` is the title or, without one, the arguments joined by zeros: a gap is a space or a zero. The patterns take
linear time, for the victim chose the text: they begin at the start or at a gap, and a repetition matches in one way
only.
"""

from __future__ import annotations

from dataclasses import dataclass

S, W, END = r"[\0 ]", r"[^\0 ]", r"(?:[\0 ]|\Z)"
"""A gap, a character of a word, and the end of a word."""

PATH = rf"(?:(?!-){W}*/)?"
OPTIONS = rf"(?:-(?:%s){S}{W}+{S}|-(?!(?:%s){S}){W}*{S})*"
"""Any options; those inserted at `%s` take the next word as their value."""

# `-e`, `-c` and `-m` run no script: the name of a program does not follow them.
RUBY_OPTIONS = OPTIONS % ("[rICE]", "[rICE]|[A-Za-z]*e")
RUBY = rf"\A(?:{PATH}ruby[0-9.]*{S}{RUBY_OPTIONS})?(?:{PATH}bundle[0-9.]*{S}exec{S})?{PATH}"
PYTHON_OPTIONS = OPTIONS % ("[WX]", "[WXcm]")
PYTHON = rf"\A(?:{PATH}(?:python|pypy)[0-9.]*{S}{PYTHON_OPTIONS})?(?:-m{S}|{PATH})"
RAKE = rf"{RUBY}(?:rake|rails){S}(?:{W}+{S})*?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How to recognize a worker of one job system.

    A condition is (source, pattern). The source is `cmdline`, `comm`, `cgroup` or `environment.KEY`. Groups of the
    pattern are named after the fields of the record's Job; other names are parts of the key only.

    Attributes:
        system: The job system.
        role: The worker's role there, unless a group gives it.
        where: Conditions that must all match.
        also: Conditions that need not match; their groups are added, but do not replace those found before.
        join: Templates of the key; the first one whose parts are all known counts. Besides the groups there are
            `hostname` and `pid`, as the worker saw them, and `parent`: the pid of the process that it was forked from.
        registry: Where to look up that key.
    """

    system: str
    role: str | None = None
    where: tuple[tuple[str, str], ...]
    also: tuple[tuple[str, str], ...] = ()
    join: tuple[str, ...] = ()
    registry: str | None = None
