# SPDX-License-Identifier: Apache-2.0
"""Text of others for the operator's terminal: what a terminal might obey is shown, not sent. Pure."""

from __future__ import annotations

import re

OBEYED = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""Control characters, all that may end a line, and the bytes of file names that are not UTF-8."""

LONGEST = 2000
BYTE, UNDECODED = 0xFF, 0xDC00


def escape_control(text: str, longest: int = LONGEST) -> str:
    """Return a text as one line that is no longer than so many characters; of a longer one the middle is left out."""
    shown = OBEYED.sub(_escape, text)
    if len(shown) <= longest:
        return shown
    half = (longest - 5) // 2
    return f"{shown[:half]}[...]{shown[-half:]}"


def _escape(found: re.Match[str]) -> str:
    number = ord(found[0])
    if UNDECODED < number <= UNDECODED + BYTE:  # os.fsdecode() hides bytes there
        number -= UNDECODED
    return f"\\x{number:02x}" if number <= BYTE else f"\\u{number:04x}"
