# SPDX-License-Identifier: Apache-2.0
"""Masks the secrets of a text: those announced by a name, those of a program's convention, those of a known shape.

The victim chose the text. So each finder goes over it once and forward only: a value that was judged is never read
again by the same finder, and what decides whether it is harmless ends where the next name could begin.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

from ooMtrace.enrich.redact_names import Grade, grade, is_switch
from ooMtrace.enrich.redact_shapes import END, Span, find_opaque, find_shapes, find_user_infos, is_opaque
from ooMtrace.enrich.redact_words import Words

MASK = "********"

PLAIN = re.compile(
    rf"""["'\\]{{0,4}}(?:(?i:true|false|yes|no|on|off|none|null|nil)|\d|\*{{1,16}}|\$\{{?[A-Z_][A-Z0-9_]{{0,64}}\}}?|)"""
    rf"""[\]}})"'\\]{{0,8}}(?:(?=[\s{END}&])|\Z|[,;](?:\Z|[\s{END}]|["']?[\w.-]{{1,32}}["']?[=:]))"""
)
"""Values that are not secret under any name: those of a switch, a variable's name, and what was masked before."""

PATH = re.compile(rf"[\"']?[.~]{{0,2}}(?P<path>/[\w.@%+/-]*)(?::\d)?(?=[\s{END}\"',;&)]|\Z)")
"""The file that has the secret. It ends before the next sign, so that no text is read twice."""

COUNT = re.compile(rf"\d{{1,9}}(?=[\s{END}]|\Z)")
NUMBER = re.compile(rf"[\"']?\d{{4,10}}(?=[\s{END}\"',;&)\]}}]|\Z)")
ATOM = re.compile(rf"[\"']?(?P<value>[^\s{END}\"',;&(){{}}=]*=?=?)")
WORD = re.compile(rf"[A-Za-z_]{{1,20}}(?=[\s{END},:;()\[\]]|\Z)")

NAME = re.compile(
    r"(?<![\w.-])(?P<name>[\w.-]+)(?P<close>(?:[\]\"'\\}]|%5D){0,4})"
    rf"(?:(?P<sign>=>?|:(?!:|//)[\s{END}]*|,\s{{0,4}}(?=[\"'])|[\s{END}]+(?:=>?|:(?!:))[\s{END}]*)"
    rf"|[\s{END}]+(?![\s{END}-]))"
)
"""A name and what separates it from its value: a sign or, after an option, only a space or the next argument."""

SCHEME = "(?i:bearer|basic|token|digest|apikey|negotiate)"
WHOLE = (re.compile(rf"(?:{SCHEME}{END})?(?P<secret>[^{END}]+)"),)
VALUE = (
    # Ends at the same quote with as many escapes, or at the end of a truncated text.
    re.compile(rf"(?P<quote>\\{{0,7}}[\"'])(?P<secret>[^{END}]*?)(?:(?<!\\)(?P=quote)|(?={END})|\Z)"),
    re.compile(rf"(?P<secret>[\[{{(][^\]}}){END}]*[^\s{END},]*)"),
    # Also ends before the next `name=` in a list.
    re.compile(rf"(?:{SCHEME}\s+)?(?P<secret>\*{{8}}|(?:(?![,;&][\w.-]+=)[^\s{END}])+)"),
)

SCRIPT = tuple(f"-{flags}{END}" for flags in ("c", "ec", "lc", "xc", "ic", "euc", "exc", "lec", "e", "r"))
"""What precedes a script: an argument that continues after a value."""

ENTRY = re.compile(
    r"(?<![\w-])(?:\\{0,3}[\"'])?(?:(?P<label>[Nn]ame|[Kk]ey|[Vv]ariable|[Pp]arameter|[Ff]ield)|[Vv]alue)(?:\\{0,3}[\"'])?\s{0,8}[:=]>?\s{0,8}"
)
"""One half of {"name": "DB_PASSWORD", "value": "x"}, in whichever order."""
LABEL = re.compile(r"(?:\\{0,3}[\"'])?(?P<name>[\w.-]{1,128})")

PERCENT = re.compile("%([0-7][0-9A-Fa-f])")
MAX_DECODINGS = 2


@lru_cache(64)  # the victims of a storm have the same texts
def redact_text(text: str) -> str:
    """Return the text with each secret replaced by MASK. Arguments are each preceded by END; a title has none."""
    return _mask(text, _find(text))


def redact_variable(name: str, value: str) -> str:
    """Return an environment variable's value without its secrets: all of it is one if the name says so."""
    how = grade(name)
    if how is not None and value and not _is_harmless(value, 0, how):
        return MASK
    return redact_text(END + value)[1:]


def _find(text: str) -> list[Span]:
    """Return all secrets, also those in a percent-encoded part: that is read decoded, as often as it may be nested."""
    spans = list(_find_plain(text))
    decoded, places = text, None
    for _ in range(MAX_DECODINGS):
        if not PERCENT.search(decoded):
            break
        decoded, places = _decode(decoded, places)
        spans.extend((places[start], places[end - 1] + 1) for start, end in _find_plain(decoded) if end > start)
    return spans


def _decode(text: str, places: list[int] | None) -> tuple[str, list[int]]:
    """Return the text decoded once, and where each of its characters began in the original."""
    before = list(range(len(text) + 1)) if places is None else places
    pieces, after, done = [], [], 0
    for found in PERCENT.finditer(text):
        character = chr(int(found[1], 16))
        pieces += [text[done : found.start()], " " if character == END else character]
        after += [*before[done : found.start()], before[found.start()]]
        done = found.end()
    return "".join((*pieces, text[done:])), [*after, *before[done:]]


def _find_plain(text: str) -> Iterator[Span]:
    yield from find_shapes(text)
    yield from find_user_infos(text)
    yield from find_opaque(text)
    yield from _values(text, _named(text))
    yield from _values(text, _labelled(text))
    yield from _values(text, ((begin, start, "sure") for begin, start in Words(text).find()))


def _mask(text: str, spans: Iterable[Span]) -> str:
    """Replace each span, overlapping ones as one; a mask that is part of a span already stays as it is."""
    pieces, done = [], 0
    for start, end in sorted(spans):
        if start >= done and start < end:
            pieces += [text[done:start], MASK]
        done = max(done, end)
    return "".join((*pieces, text[done:]))


Announced = tuple[int, int, Grade]
"""Where the name or option begins, where the value, and what the name says."""


def _values(text: str, announced: Iterable[Announced]) -> Iterator[Span]:
    done = 0
    for begin, start, how in announced:
        if start < done or start >= len(text) or _is_harmless(text, start, how):
            continue
        found = _value(text, begin, start)
        if found:
            yield found.span("secret")
            done = found.end()


def _value(text: str, begin: int, start: int) -> re.Match[str] | None:
    is_argument = text[begin - 1 : begin] == END and not text.endswith(SCRIPT, 0, begin)
    patterns = WHOLE if is_argument or text[start - 1] == END else VALUE
    return next((found for pattern in patterns if (found := pattern.match(text, start))), None)


def _is_harmless(text: str, start: int, how: Grade) -> bool:
    if PLAIN.match(text, start):
        return True
    if path := PATH.match(text, start):
        return not any(is_opaque(part) for part in path["path"].split("/")) and len(path["path"]) > 1
    if how not in ("opaque", "number"):
        return False
    if how == "number" and NUMBER.match(text, start):
        return False
    atom = ATOM.match(text, start)
    return atom is None or not _is_key(atom["value"])


MIXED = re.compile("[^A-Za-z_.-]")
MAX_LOOK = 64
MIN_BASE64 = 12
HEX = re.compile("[0-9a-fA-F]{16,}")
KEY = re.compile(r"(?=[^\s]*\d)(?=[^\s]*[A-Za-z])[A-Za-z0-9+/_=.-]{16,}")


def _is_key(value: str) -> bool:
    return bool(HEX.fullmatch(value) or is_opaque(value) or (value.endswith("=") and len(value) >= MIN_BASE64)) or bool(
        KEY.fullmatch(value) and "/" not in value and "." not in value
    )


def _named(text: str) -> Iterator[Announced]:
    """Yield the places where a name announces a secret."""
    for found in NAME.finditer(text):
        how = grade(found["name"])
        if how is not None and _announces(found, how):
            yield found.start(), found.end(), how


def _announces(found: re.Match[str], how: Grade) -> bool:
    name, sign, text = found["name"], found["sign"], found.string
    before, before_that = text[found.start() - 1 : found.start()], text[found.start() - 2 : found.start() - 1]
    if sign is None:
        is_count = name.endswith("tokens") and COUNT.match(text, found.end())
        is_option = name.startswith("-") and not is_switch(name) and not is_count
        return is_option or (how != "option" and _is_bare(found, how))
    if "," in sign:  # define('DB_PASSWORD', 'x')
        return text[max(0, found.start() - 2) : found.start()] in ("('", '("')
    if name.endswith("tokens") and COUNT.match(text, found.end()):
        return False
    if "=" in sign or '"' in found["close"] or "'" in found["close"]:
        return True
    if name.startswith("-") or (before == "/" and before_that in ("", " ", END)):
        return True  # --password:x, /password:x
    # Many harmless texts have a colon: module:app, host:port, image:tag, Some::Class, queue:auth:name, task: running.
    if how in ("option", "opaque", "number") or before in (":", "@", "/") or "." in name:
        return False
    is_header = "-" in name and before in (END, '"', "'")
    return how == "sure" or is_header or not WORD.match(text, found.end())


def _is_bare(found: re.Match[str], how: Grade) -> bool:
    """Return whether a name that is an argument of its own announces the next one: `set password x1!`."""
    text, end = found.string, found.end()
    is_argument = text[found.start() - 1 : found.start()] == END and text[end - 1] == END and not found["close"]
    if not is_argument or found["name"][0] == "-" or how not in ("sure", "label"):
        return False
    is_set = text.endswith(f"set{END}", 0, found.start())
    return is_set or bool(MIXED.search(text[end : end + MAX_LOOK].partition(END)[0]))


def _labelled(text: str) -> Iterator[Announced]:
    """Yield the values of pairs in JSON whose name is a secret's."""
    entries = list(ENTRY.finditer(text))
    for index, entry in enumerate(entries):
        if entry["label"]:
            continue
        for other in (*entries[max(0, index - 1) : index], *entries[index + 1 : index + 2]):
            first, second = sorted((entry, other), key=re.Match.start)
            label = LABEL.match(text, other.end()) if other["label"] else None
            if label and "}" not in text[first.end() : second.start()]:
                how = grade(label["name"])
                if how is not None:
                    yield entry.start(), entry.end(), how
                    break
