# SPDX-License-Identifier: Apache-2.0
"""The values of options: each function takes the text of one and raises ArgumentTypeError if it is wrong."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError

from ooMtrace.errors import UsageError
from ooMtrace.output.url import OutputUrl, parse_output

DECIMAL = re.compile(r"[0-9]{1,20}(?:\.[0-9]{0,20})?|\.[0-9]{1,20}")
COUNT = re.compile(r"[0-9]{1,9}")
PORT = re.compile(r"[0-9]{1,20}")
HIGHEST_PORT = 65535
MAX_TIMEOUT_FACTOR = 100


def output_url(text: str) -> OutputUrl:
    """Return an output by its file or URL."""
    try:
        return parse_output(text)
    except UsageError as error:
        raise ArgumentTypeError(str(error)) from error


def process_name(text: str) -> str:
    """Return the name of a process (comm)."""
    if not text or text.startswith("/"):
        raise ArgumentTypeError(f"{text!r} is not the name of a process, such as earlyoom")
    return text


def count(text: str) -> int:
    """Return a number of at most nine digits."""
    if not COUNT.fullmatch(text):
        raise ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


def timeout_factor(text: str) -> float:
    """Return a factor above 0, up to MAX_TIMEOUT_FACTOR."""
    factor = float(text) if DECIMAL.fullmatch(text) else 0.0
    if not 0 < factor <= MAX_TIMEOUT_FACTOR:
        raise ArgumentTypeError(f"{text!r} is not a number between 0 and {MAX_TIMEOUT_FACTOR}")
    return factor


def service(text: str) -> tuple[int, str]:
    """Return port and name."""
    port, equals, name = text.partition("=")
    if not (equals and name and name.isprintable() and PORT.fullmatch(port) and int(port) <= HIGHEST_PORT):
        raise ArgumentTypeError(f"{text!r} is not PORT=NAME, such as 7000=redis")
    return int(port), name
