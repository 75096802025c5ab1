# SPDX-License-Identifier: Apache-2.0
"""What the pages for people quote: messages are those of the program, and figures are those of docs/cost.md."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
WORDS = 4
"""A quoted text of so many words is a message; a shorter one is a name, an option or a value."""


@cache
def texts() -> str:
    """Return all texts in the program's sources, each on a line; `...` for what a text has computed in it."""
    found = []
    for path in (ROOT / "ooMtrace").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = (str(part.value) if isinstance(part, ast.Constant) else "..." for part in node.values)
                found.append("".join(parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return "\n".join(found)


def messages() -> list[str]:
    """Return what the page on known issues quotes in the columns of symptoms."""
    rows = re.findall(r"^\| (.+?) \| .+ \|$", (DOCS / "known-issues.md").read_text(), re.MULTILINE)
    quoted = [text for row in rows for text in re.findall(r"`([^`]+)`", row)]
    return [text for text in quoted if len(text.split()) >= WORDS]


@pytest.mark.parametrize("message", messages())
def test_a_message_of_the_known_issues_is_one_of_the_program(message):
    parts = [part.strip() for part in message.split("...") if len(part.split()) > 1]

    assert parts
    assert all(part in texts() for part in parts), message


def test_the_page_on_known_issues_quotes_messages():
    assert len(messages()) >= 15


def test_the_comparison_has_no_figures_of_cost_that_are_not_measured():
    page, cost = (DOCS / "comparison.md").read_text(), (DOCS / "cost.md").read_text()
    figures = re.findall(r"\b[0-9.]+ (?:MiB|MB|KiB|us|ms|ns|%)", page)

    assert figures
    assert [figure for figure in figures if figure not in cost] == []
