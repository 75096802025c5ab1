# SPDX-License-Identifier: Apache-2.0
"""Processes made to be killed, each in a scratch cgroup."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from ooMtrace.scratch import ScratchCgroup

SOURCE = Path(__file__).with_name("victim.c")


def compile_victim(folder: Path) -> Path:
    """Compile victim.c and return the program."""
    program = folder / "victim"
    subprocess.run(["cc", "-O1", "-Wall", "-Wextra", "-Werror", "-pthread", "-o", program, SOURCE], check=True)
    return program


class Victim:
    """One process: started at once, waiting; `go` lets it do what its mode says."""

    def __init__(
        self,
        program: Path,
        mode: str,
        cgroup: ScratchCgroup,
        megabytes: int = 256,
        *,
        uid: int = 0,
        adj: int = 0,
        comm: bytes = b"",
    ) -> None:
        self.process = subprocess.Popen(
            [program, mode, str(megabytes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={b"VICTIM_COMM": comm} if comm else {},
            user=uid,
        )
        self.pid = self.process.pid
        Path(f"/proc/{self.pid}/oom_score_adj").write_text(str(adj))
        cgroup.join(self.pid)

    def go(self) -> Victim:
        """Let it begin."""
        assert self.process.stdin
        os.write(self.process.stdin.fileno(), b"!")
        return self

    def said(self) -> str:
        """Return the next line of its output."""
        assert self.process.stdout
        return self.process.stdout.readline().decode().strip()

    def end(self) -> int:
        """Wait for its end and return its exit status; negative: the signal."""
        return self.process.wait(60)

    def kill(self) -> None:
        """End it by hand."""
        self.process.kill()
        self.end()
