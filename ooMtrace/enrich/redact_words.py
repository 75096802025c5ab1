# SPDX-License-Identifier: Apache-2.0
"""Finds secrets by the conventions of programs: one pass over the words of a text."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ooMtrace.enrich.redact_shapes import END
from ooMtrace.enrich.redact_tools import (
    ANY_PROGRAM,
    PASSWORD_OPTIONS,
    PROGRAMS,
    USER_OPTIONS,
    WRAPPER_END,
    Convention,
)

WORD = re.compile(rf"[^\s{END}]+")
SHORT = len("-x")
MAX_WORD = 128
"""Characters of a word that may be a program, an option or a subcommand."""

USER_AND_PASSWORD = re.compile(r"=?[\"']?[\w.@-]+:(?=[^\s:]*[A-Za-z])(?=[^\s:]*[0-9!#$%])[^\s:]{6,}")
OPENING = "\"'`$({"
OPTION = re.compile(r"-|[/+]\w+(?:[:=]|$)")
ORACLE_LOGIN = re.compile(r"[\"']?(?:userid=|USERID=)?\w{1,64}/[^\s/@]")
CLUSTER = re.compile(r"-[A-Za-z#]{0,8}")
NOT_PASSWORD = re.compile(r"[\d.:,/\[\]-]*(?:/(?:tcp|udp))?|[.~]{0,2}/.*|-.*|\w+=.*|.*[\"']?[;|&]")

Place = tuple[int, int]
"""Where the word with the option begins, and where the value."""


class Program:
    """The conventions of one program, sorted by where they are needed."""

    def __init__(self, rules: tuple[Convention, ...]) -> None:
        self.options = tuple(rule for rule in rules if rule.form != "operand")
        self.operands = tuple(rule for rule in rules if rule.form == "operand")
        # Options that begin like an operand: `using x`.
        self.keywords = frozenset(rule.flag for rule in rules if rule.form == "exact" and rule.flag[0] not in "-/")
        # What must have been seen before; other words are forgotten.
        self.conditions = frozenset(word for rule in self.operands for word in (rule.flag, rule.needs)) | frozenset(
            rule.needs for rule in rules
        )


KNOWN = {name: Program(rules) for name, rules in PROGRAMS.items()}
UNKNOWN = Program(ANY_PROGRAM)


class Words:
    """Walks over the words of a text, and remembers which program they are arguments of."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._start_command()

    def _start_command(self, program: Program = UNKNOWN) -> None:
        self._program = program
        self._expected: list[Convention] = []
        self._expected_from = 0
        self._operands: dict[str, int] = {"": 0}
        self._has_user = self._after_user = False

    def find(self) -> Iterator[Place]:
        """Yield the places of values that a program's convention makes secret."""
        for found in WORD.finditer(self._text):
            start, end = found.span()
            word = self._text[start : min(end, start + MAX_WORD)]
            if self._expected:
                yield from self._expected_value(start, end, word)
            elif word in WRAPPER_END:
                self._start_command()
            elif program := self._find_program(word):
                self._start_command(program)
            elif OPTION.match(word) or word in self._program.keywords:
                yield from self._option(start, word)
            else:
                yield from self._operand(start, word)
            if word[-1] in ";|&" and not self._expected:
                self._start_command()

    def _find_program(self, word: str) -> Program | None:
        """Return the conventions of the program that a word names; a path is an operand, where those are known."""
        if word.isalnum():
            return KNOWN.get(word)
        if word[0] == "-" or ("/" in word and self._program is not UNKNOWN and self._program.conditions):
            return None
        name = word.lstrip(OPENING).rpartition("/")[2].rstrip("\"'")
        return KNOWN.get(name.removesuffix(".exe"))

    def _expected_value(self, start: int, end: int, word: str) -> Iterator[Place]:
        rules, self._expected = self._expected, []
        if word[0] == "-" and len(word) > 1 and not any(rule.after for rule in rules):
            yield from self._option(start, word)
            return
        for rule in rules:
            yield from _after(self._text, self._expected_from, start, min(end, start + 4 * MAX_WORD), rule.after)

    def _option(self, start: int, word: str) -> Iterator[Place]:
        self._after_user = False
        if word in self._program.conditions:
            self._operands[word] = 0
        option, equals, _ = word.partition("=")
        for rule in self._program.options:
            if rule.needs and rule.needs not in self._operands:
                continue
            if word == rule.flag:
                if rule.form != "glued":
                    self._expect(rule, start)
            elif equals and option == rule.flag and rule.form in ("exact", "next"):
                yield from _after(self._text, start, start + len(option) + 1, start + len(word), rule.after)
            elif rule.form in ("glued", "next"):
                yield from self._glued(rule, start, word)
        if self._program is UNKNOWN:
            yield from self._guessed(start, word, option)

    def _glued(self, rule: Convention, start: int, word: str) -> Iterator[Place]:
        flag = rule.flag
        if word.startswith(flag) and len(word) > len(flag) and not word.startswith("--"):
            if flag[0] != "/" or not re.match(r"\w+=", word[len(flag) :]):
                yield from _after(self._text, start, start + len(flag), start + len(word), rule.after)
        elif rule.after and len(flag) == SHORT and word[-1] == flag[1] and CLUSTER.fullmatch(word):
            self._expect(rule, start)  # curl -sSu user:password

    def _guessed(self, start: int, word: str, option: str) -> Iterator[Place]:
        """Yield the place of a password that follows a user's name, of a program that is not in the table."""
        if option in USER_OPTIONS:
            self._after_user = word == option
            value = WORD.search(self._text, start + len(option))
            self._has_user = value is not None and value[0][0] != "-"
            if value and USER_AND_PASSWORD.match(value[0][:MAX_WORD]):
                yield from _after(self._text, start, value.start(), value.start() + MAX_WORD, ":")
        elif self._has_user and word in PASSWORD_OPTIONS:
            value = WORD.search(self._text, start + len(word))
            if value and not NOT_PASSWORD.fullmatch(value[0][:MAX_WORD]):
                self._expect(Convention(word, "exact"), start)

    def _expect(self, rule: Convention, start: int) -> None:
        self._expected.append(rule)
        self._expected_from = start

    def _operand(self, start: int, word: str) -> Iterator[Place]:
        if self._after_user:
            self._after_user = False
            return
        for name in self._operands:
            self._operands[name] += 1
        for rule in self._program.operands:
            nth = self._operands.get(rule.flag)
            is_nth = nth is not None and rule.nth in (0, nth) and (not rule.needs or rule.needs in self._operands)
            if is_nth and (rule.after or ("=" not in word[:-2] and word[0] not in "$\\")):
                yield from _after(self._text, start, start, start + len(word), rule.after)
        if word in self._program.conditions:
            self._operands[word] = 0


def _after(text: str, begin: int, start: int, end: int, separator: str) -> Iterator[Place]:
    """Yield the place of a value, from after the separator on; nothing where the separator does not occur."""
    if not separator:
        yield begin, start
        return
    if separator == "/" and not ORACLE_LOGIN.match(text, start):
        return
    at = text.find(separator, start, end)
    if at >= 0 and text[at + 1 : at + 2] not in ("", END, "/"):
        yield begin, at + 1
