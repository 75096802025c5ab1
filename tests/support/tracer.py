# SPDX-License-Identifier: Apache-2.0
"""A tracer as a user starts it: the installed command, in a process of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self  # in typing from 3.11 on

COMMAND = Path(sys.executable).parent / "oomtrace"
TIMEOUT_S = 30
PRIORITY = -15
"""As nice(1) counts."""
Line = dict[str, Any]


def victim_of(line: Line) -> int | None:
    """Return the process; its thread where that is all that is known."""
    process = line.get("process", {})
    return process.get("pid", process.get("tid"))


def repairs(lines: Sequence[Line], level: str) -> list[str]:
    """Return what shows that a tracer of this level did not see every kill itself, in the order of its lines.

    The reconciler makes up for almost any fault of the probes. A test that allows that tests the reconciler only.
    This holds for the kills of other processes, too: a tracer that runs sees all of them.
    """
    found = []
    for line in lines:
        name = f"line {line['seq']} ({line['event']})"
        if line["event"] == "oom_lost":
            found.append(f"{name}: {line['lost']['count']} lost")
        if line["fidelity"] != level:
            found.append(f"{name}: fidelity {line['fidelity']}")
        if "dropped_before" in line:
            found.append(f"{name}: dropped_before {line['dropped_before']}")
        if (line["event"] == "oom_dying" or _verdict(line) == "shared_mm") and "number" in line["oom"]:
            found.append(f"{name}: number {line['oom']['number']} of a process that the kernel does not count")
    found += [f"line {a['seq']} is followed by line {b['seq']}" for a, b in pairwise(lines) if b["seq"] != a["seq"] + 1]
    # the other levels do not know which kills belong to a group
    return found + (_gaps(lines) if level in ("full", "reduced") else [])


def _verdict(line: Line) -> str | None:
    verdict: str | None = line.get("oom", {}).get("verdict")
    return verdict


def _gaps(lines: Sequence[Line]) -> list[str]:
    """Return where kills are not numbered consecutively, except for a group's first, which is counted twice."""
    kills = [line for line in lines if line["event"] == "oom_kill" and "number" in line["oom"]]
    kills.sort(key=lambda line: line["oom"]["number"])
    pairs = [(a["oom"]["number"], b["oom"]["number"]) for a, b in pairwise(kills) if "group" not in a["oom"]]
    return [f"kill {a} is followed by kill {b}" for a, b in pairs if b != a + 1]


def parsed(raw: bytes) -> list[Line]:
    """Return the lines in these bytes; what follows the last newline is not a line."""
    return [json.loads(line) for line in raw.split(b"\n")[:-1] if line]


class RunningTracer:
    """Use it as a context manager: on entry the probes are attached, at the end its lines are checked.

    Args:
        output: The file for the lines, if not one in the folder.
        stdout: A descriptor for the lines, instead of a file; the test passes what it reads there to `check`.
        repairs: Whether the test expects that the tracer misses kills, and backfills them or reports them as lost.
        wrapper: A command that executes it, such as nsenter(1).

    Attributes:
        exit_code: The exit code that it must have at the end.
    """

    def __init__(
        self,
        folder: Path,
        *options: str,
        output: Path | None = None,
        stdout: int | None = None,
        repairs: bool = False,
        wrapper: Sequence[str] = (),
    ) -> None:
        self.output = output or folder / "lines"
        self.exit_code = 0
        self.repairs = repairs
        self._earlier = b""
        self._ready, self._messages, self._stdout = folder / "ready", folder / "messages", stdout
        to_file = ("--output", self.output) if stdout is None else ()
        self._command: list[str | Path] = [*wrapper, COMMAND, *to_file, "--ready-file", self._ready, *options]

    def __enter__(self) -> Self:
        if self._stdout is None and self.output.exists():
            self._earlier = self.output.read_bytes()
        with self._messages.open("ab") as messages:
            self.process = subprocess.Popen(self._command, stdout=self._stdout, stderr=messages)
        try:
            self._wait_until_ready()
            self._lift_priority()
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

    def _lift_priority(self) -> None:
        """Give it a CPU whenever it needs one: late because of unrelated processes, it would miss kills of a storm."""
        with suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, self.process.pid, PRIORITY)

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        code = self.stop()
        if error is None:
            assert code == self.exit_code, self.messages()
            if self._stdout is None:
                self.check(self.output.read_bytes().removeprefix(self._earlier))

    def check(self, raw: bytes) -> None:
        """Check lines of this run: it has seen every kill itself, unless the test expects repairs."""
        found = [] if self.repairs else repairs(parsed(raw), self.reached_level())
        assert not found, "\n".join(found[:20])

    def reached_level(self) -> str:
        """Return the level that it has reached."""
        return re.findall(r"^oomtrace: tracing at level (\w+)", self.messages(), re.MULTILINE)[-1]

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Stop it, let it drain, and return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(TIMEOUT_S)

    def messages(self) -> str:
        """Return its messages on stderr."""
        return self._messages.read_text()

    def lines(self) -> list[Line]:
        """Return all complete lines so far: of the one being written there may be a part."""
        return parsed(self.output.read_bytes())

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

    def lines_where(self, key: Callable[[Line], str], wanted: Collection[str]) -> dict[str, Line]:
        """Wait until there is a line for each of these keys, and return the lines by key."""
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            mine = {name: line for line in self.lines() if (name := key(line)) in wanted}
            if set(mine) == set(wanted):
                return mine
            assert time.monotonic() < deadline, f"no line for {set(wanted) - set(mine)}; {self.messages()}"
            time.sleep(0.02)
