# SPDX-License-Identifier: Apache-2.0
"""Numbers in foreign text are ASCII: `\\d` and str.isdigit() accept the digits of every script, as int() does."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent.parent / "ooMtrace"
SOURCES = {str(path.relative_to(PACKAGE)): ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}
OTHERS = ("enrich/redact", "kmsg/formats.py")
"""Of what looks like a secret no number is read; and parts of patterns that are compiled with re.ASCII."""

UNICODE_DIGITS = {"isdigit", "isdecimal", "isnumeric"}
DIGIT_CLASS = re.compile(r"(?<!\\)(?:\\\\)*\\d")


def docstrings(tree: ast.AST) -> set[int]:
    """Return the ids of strings that stand alone: they are documentation."""
    return {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}


def is_ascii(call: ast.Call) -> bool:
    """Say whether a call of the module `re` has the flag ASCII."""
    return any("re.ASCII" in ast.unparse(argument) for argument in (*call.args, *(one.value for one in call.keywords)))


def unsafe(tree: ast.AST) -> Iterator[str]:
    """Yield what accepts digits of other scripts. Patterns of bytes do not."""
    harmless = docstrings(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and is_ascii(node):
            harmless |= {id(part) for part in ast.walk(node)}
        if isinstance(node, ast.BoolOp) and ".isascii()" in ast.unparse(node):
            harmless |= {id(part) for part in ast.walk(node)}
    for node in ast.walk(tree):
        if id(node) in harmless:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and DIGIT_CLASS.search(node.value):
            yield f"line {node.lineno}: {node.value}"
        if isinstance(node, ast.Attribute) and node.attr in UNICODE_DIGITS:
            yield f"line {node.lineno}: {ast.unparse(node)}"


@pytest.mark.parametrize(
    ("source", "count"),
    [
        (r're.compile(r"\d+")', 1),
        (r're.compile(rf"{x}\d+")', 1),
        (r're.compile(r"\d+", re.ASCII)', 0),
        (r're.compile(r"\d+", flags=re.I | re.ASCII)', 0),
        (r're.compile(rb"\d+")', 0),
        (r're.compile(r"\\d[0-9]")', 0),
        (r'r"""Of \d."""', 0),
        ("x.isdigit()", 1),
        ("any(map(str.isdecimal, x))", 1),
        ("x.isascii() and x.isdigit()", 0),
    ],
)
def test_the_search_finds_what_is_unsafe_and_nothing_else(source, count):
    assert len(list(unsafe(ast.parse(source)))) == count


@pytest.mark.parametrize("name", [name for name in SOURCES if not name.startswith(OTHERS)])
def test_no_pattern_accepts_digits_of_other_scripts(name):
    assert list(unsafe(SOURCES[name])) == []
