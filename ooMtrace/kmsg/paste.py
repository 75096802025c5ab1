# SPDX-License-Identifier: Apache-2.0
"""Lines as they come out of terminals, web pages and tables: without colours, entities and columns. Pure."""

from __future__ import annotations

import html
import re

from ooMtrace.kmsg.pieces import TAG

ESCAPE = re.compile(
    r"(?:\x1b|\^\[)(?:\[[0-9;?]{0,16}[A-Za-z]|\][^\x07\x1b]{0,128}(?:\x07|\x1b\\)|[()][A-Z0-9]|[A-Z=>78])"
)
"""What a terminal obeys: colours, erasing, titles; `^[` is how some programs show the escape character."""

ENTITY = re.compile(r"^[\s>*|#-]{0,32}&(?:lt|gt|quot|nbsp|#[0-9]{1,5});")
BLANK_HEAD = 64
"""Characters in which a web page may have replaced blanks by those that do not break a line."""

COLUMNS = re.compile(
    rf"^(?P<head>[^\[]{{0,256}}?)(?P<mark>[,|\t])[ ]*(?P<quote>\"?)(?P<tag>{TAG}):?(?P=quote)"
    r"[ ]*(?P=mark)[ ]*\"?(?P<text>.*)\Z",
    re.DOTALL,
)
"""A line of a table with the tag in a column of its own."""

SEPARATORS = re.compile(r"[\"|\t]+|,(?! )")


def clean(line: str) -> str:
    """Return the line as the log had it; text that is the kernel's is not changed, whatever names are in it."""
    if "\x1b" in line or line.startswith("^["):
        line = ESCAPE.sub("", line)
    if "&" in line[:BLANK_HEAD] and ENTITY.match(line):
        line = html.unescape(line)
    if "\u00a0" in line[:BLANK_HEAD]:
        line = line[:BLANK_HEAD].replace("\u00a0", " ") + line[BLANK_HEAD:]
    found = COLUMNS.match(line) if line[:1] in '"|' or "\t" in line[:BLANK_HEAD] or ",kern" in line else None
    if found is None or "{" in found["head"]:
        return line
    head = SEPARATORS.sub(" ", found["head"])
    quoted = found["text"].rstrip()
    text = quoted.rstrip('"').rstrip("|").rstrip() if found["quote"] or found["mark"] != "\t" else quoted
    return f"{' '.join(head.split())} {found['tag']}: {text}".lstrip()
