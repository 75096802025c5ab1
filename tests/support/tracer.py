# SPDX-License-Identifier: Apache-2.0
"""A tracer as a user starts it: the installed command, in a process of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self  # in typing from 3.11 on

COMMAND = Path(sys.executable).parent / "oomtrace"
TIMEOUT_S = 30
Line = dict[str, Any]


def victim_of(line: Line) -> int | None:
    """Return the process; its thread where that is all that is known."""
    process = line.get("process", {})
    return process.get("pid", process.get("tid"))


class RunningTracer:
    """Use it as a context manager: on entry the probes are attached.

    Args:
        output: The file for the lines, if not one in the folder.
        stdout: A descriptor for the lines, instead of a file.

    Attributes:
        exit_code: The exit code that it must have at the end.
    """

    def __init__(self, folder: Path, *options: str, output: Path | None = None, stdout: int | None = None) -> None:
        self.output = output or folder / "lines"
        self.exit_code = 0
        self._ready, self._messages, self._stdout = folder / "ready", folder / "messages", stdout
        to_file = ("--output", self.output) if stdout is None else ()
        self._command: list[str | Path] = [COMMAND, *to_file, "--ready-file", self._ready, *options]

    def __enter__(self) -> Self:
        with self._messages.open("ab") as messages:
            self.process = subprocess.Popen(self._command, stdout=self._stdout, stderr=messages)
        try:
            self._wait_until_ready()
        except BaseException:  # Ctrl-C, too
            self.process.kill()
            self.process.wait()
            raise
        return self

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + TIMEOUT_S
        while not self._ready.exists():
            assert self.process.poll() is None, self.messages()
            assert time.monotonic() < deadline, "not ready"
            time.sleep(0.01)

    def __exit__(self, *_: object) -> None:
        assert self.stop() == self.exit_code, self.messages()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Stop it, let it drain, and return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(TIMEOUT_S)

    def messages(self) -> str:
        """Return its messages on stderr."""
        return self._messages.read_text()

    def lines(self) -> list[Line]:
        """Return all complete lines so far: of the one being written there may be a part."""
        return [json.loads(line) for line in self.output.read_bytes().split(b"\n")[:-1]]

    def lines_of(self, pids: Collection[int]) -> list[Line]:
        """Wait until each of these processes has a line, and return all lines about them.

        Other things may die on the machine meanwhile.
        """
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            mine = [line for line in self.lines() if victim_of(line) in pids]
            if {victim_of(line) for line in mine} == set(pids):
                return mine
            assert time.monotonic() < deadline, f"no line for all of {pids}; {self.messages()}"
            time.sleep(0.02)
