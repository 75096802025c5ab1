# SPDX-License-Identifier: Apache-2.0
"""One tool as a process: started, timed until its probes are attached, measured, stopped."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

KPROBES = Path("/sys/kernel/debug/kprobes/list")
POLL_S = 0.02
READY_TIMEOUT_S = 600
STOP_TIMEOUT_S = 60
HEADER_AFTER_S = 5
"""A tool that has said nothing so long after its probe was attached prints no header."""

KILLED = re.compile(rb"OOM kill of PID (\d+)")
"""What all versions of oomkill print of a kill."""


@dataclass(frozen=True, slots=True)
class Command:
    """How a tool is started.

    Attributes:
        ready_option: The option that names a file which exists once the probes are attached.
        unbuffered: Environment and command prefix with which its output into a pipe is not buffered.
    """

    arguments: tuple[str, ...]
    ready_option: str = ""
    unbuffered: Mapping[str, str] = field(default_factory=dict)
    wrapper: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OutputLine:
    """A line of a tool about a kill; `at`: when it was read (ns, CLOCK_MONOTONIC); `event`: of oomtrace's line."""

    at: int
    pid: int | None
    text: bytes
    event: dict[str, Any] | None = None


class Tool:
    """A running tool. Use it as a context manager: at the end it is stopped.

    Args:
        buffered: Whether it may buffer its output, as it does in a pipe unless an option prevents it.
    """

    def __init__(self, command: Command, more: Sequence[str] = (), *, buffered: bool = False) -> None:
        self._command = command
        self._folder = Path(tempfile.mkdtemp(prefix="bench-"))
        self._ready = self._folder / "ready"
        self._errors = self._folder / "stderr"
        self._lines: list[tuple[int, bytes]] = []
        self._rest = b""
        ready = (command.ready_option, str(self._ready)) if command.ready_option else ()
        wrapper, unbuffered = ((), {}) if buffered else (command.wrapper, command.unbuffered)
        self._kprobes = _oom_kprobes()
        self._began = time.monotonic_ns()
        with self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                [*wrapper, *command.arguments, *ready, *more],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**os.environ, **unbuffered},
            )
        self.pid = self._process.pid
        # the kills of a benchmark are meant for others; without the right to say so, they are in cgroups only
        with suppress(PermissionError):
            Path(f"/proc/{self.pid}/oom_score_adj").write_text("-1000")

    def __enter__(self) -> Tool:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def wait_ready(self) -> float:
        """Wait until the probes are attached; return the seconds since the start.

        Raises:
            RuntimeError: It has ended, or is not ready in time.
        """
        deadline = time.monotonic() + READY_TIMEOUT_S
        header = attached = 0
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            if not header and self._read(POLL_S):
                header = time.monotonic_ns()
            elif header or self._command.ready_option:
                time.sleep(POLL_S / 4)
            now = time.monotonic_ns()
            if self._command.ready_option:
                if self._ready.exists():
                    return self._start_reading(now)
                continue
            if not attached and _oom_kprobes() > self._kprobes:
                attached = now
            if attached and (header or now - attached > HEADER_AFTER_S * 1e9):
                return self._start_reading(max(attached, header))
        raise RuntimeError(f"{self._command.arguments[0]} is not ready: {self.errors()}")

    def _start_reading(self, ready: int) -> float:
        self._reader = threading.Thread(target=self._read_all, daemon=True)
        self._reader.start()
        return (ready - self._began) / 1e9

    def _read(self, timeout_s: float) -> bool:
        assert self._process.stdout
        descriptor = self._process.stdout.fileno()
        if not select.select([descriptor], [], [], timeout_s)[0]:
            return False
        return self._take(os.read(descriptor, 1 << 16))

    def _read_all(self) -> None:
        assert self._process.stdout
        while self._take(os.read(self._process.stdout.fileno(), 1 << 16)):
            pass

    def _take(self, data: bytes) -> bool:
        now = time.monotonic_ns()
        self._rest += data
        *whole, self._rest = self._rest.split(b"\n")
        self._lines += [(now, line) for line in whole]
        return bool(data)

    def count(self) -> int:
        """Return how many lines it has written."""
        return len(self._lines)

    def kills(self, since: int = 0) -> list[OutputLine]:
        """Return the lines about kills, from line `since` on; of oomtrace all lines."""
        return [line for at, text in self._lines[since:] if (line := parse(at, text))]

    def wait_kills(self, pids: Collection[int], since: int, timeout_s: float) -> list[OutputLine]:
        """Wait until it has a line for each of these processes, or for the timeout; return the lines about kills."""
        deadline = time.monotonic() + timeout_s
        while not set(pids) <= {line.pid for line in self.kills(since)} and time.monotonic() < deadline:
            time.sleep(0.1)
        return self.kills(since)

    def cpu_s(self) -> float:
        """Return the CPU time that it has used, in seconds."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_kb(self) -> dict[str, int]:
        """Return its resident memory, its share of it (PSS), and what only it has mapped, in kB."""
        rows = Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines()[1:]
        sizes = {name: int(value.split()[0]) for name, _, value in (row.partition(":") for row in rows)}
        return {
            "rss": sizes["Rss"],
            "pss": sizes["Pss"],
            "private": sizes["Private_Clean"] + sizes["Private_Dirty"],
        }

    def switches(self) -> int:
        """Return the context switches of all its threads: how often it woke up, and how often it was interrupted."""
        found = 0
        for thread in Path(f"/proc/{self.pid}/task").iterdir():
            found += sum(map(int, re.findall(r"ctxt_switches:\t(\d+)", (thread / "status").read_text())))
        return found

    def programs(self) -> dict[int, dict[str, int]]:
        """Return the counters of its BPF programs, by id: run_time_ns, run_cnt, verified_insns."""
        found = {}
        for info in Path(f"/proc/{self.pid}/fdinfo").iterdir():
            try:
                counters = program_counters(info)
            except OSError:  # closed meanwhile
                continue
            if "run_time_ns" in counters:
                found[counters["prog_id"]] = counters
        return found

    def errors(self) -> str:
        """Return the end of what it has written to stderr."""
        return self._errors.read_text(errors="replace")[-1000:]

    def stop(self) -> None:
        """Stop it as Ctrl-C does, and wait for its end."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()
        if hasattr(self, "_reader"):
            self._reader.join(STOP_TIMEOUT_S)


def program_counters(info: Path) -> dict[str, int]:
    """Return the counters of a BPF program, from the file about its descriptor; of another descriptor nothing."""
    rows = dict(row.split(":\t", 1) for row in info.read_text().splitlines() if ":\t" in row)
    names = ("prog_id", "run_time_ns", "run_cnt", "verified_insns")
    return {name: int(rows[name]) for name in names if name in rows}


def parse(at: int, text: bytes) -> OutputLine | None:
    """Return what a line says of a kill; None: it is about none."""
    if text.startswith(b"{"):
        event = json.loads(text)
        return OutputLine(at, event.get("process", {}).get("pid"), text, event)
    found = KILLED.search(text)
    return OutputLine(at, int(found[1]), text) if found else None


def _oom_kprobes() -> int:
    try:
        return KPROBES.read_text().count(" oom_kill_process")
    except OSError:
        return 0
