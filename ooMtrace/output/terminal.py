# SPDX-License-Identifier: Apache-2.0
"""Untrusted text for the operator's terminal: control characters are shown, not sent. Pure."""

from __future__ import annotations

import re

UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""Control characters, all ends of lines, and the surrogates in which os.fsdecode() keeps bytes that are not UTF-8."""

MAX_LENGTH = 2000
BYTE, UNDECODED = 0xFF, 0xDC00


def escape_control(text: str, longest: int = MAX_LENGTH) -> str:
    """Return a text as one line of no more than `longest` characters; the middle of a longer one is left out."""
    shown = UNSAFE.sub(_escape, text)
    if len(shown) <= longest:
        return shown
    half = (longest - 5) // 2
    return f"{shown[:half]}[...]{shown[-half:]}"


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    if UNDECODED < code <= UNDECODED + BYTE:
        code -= UNDECODED
    return f"\\x{code:02x}" if code <= BYTE else f"\\u{code:04x}"
