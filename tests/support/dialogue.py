# SPDX-License-Identifier: Apache-2.0
"""Interactive programs, line by line."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from .debian import Tree

TIMEOUT_S = 60


def said(process: subprocess.Popen[str]) -> str:
    """Return the next line of a program's output."""
    assert process.stdout
    return process.stdout.readline().strip()


def send_line(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdin
    process.stdin.write(f"{text}\n")
    process.stdin.flush()


def wait_until(true: Callable[[], bool]) -> None:
    """Poll until the condition holds, up to a timeout."""
    deadline = time.monotonic() + TIMEOUT_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@contextmanager
def dialogue(place: Tree, *command: str, **more: Any) -> Iterator[subprocess.Popen[str]]:
    """Start an interactive program, and kill it at the end of the block."""
    process = place.start(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, **more)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()
