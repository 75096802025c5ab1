# SPDX-License-Identifier: Apache-2.0
"""Processes made to be killed, each in a scratch cgroup."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from ooMtrace.kernel.scratch_cgroup import ScratchCgroup

SOURCE = Path(__file__).with_name("victim.c")


def compile_victim(folder: Path, *options: str) -> Path:
    """Compile victim.c and return the program."""
    program = folder / "victim"
    subprocess.run(
        ["cc", "-O1", "-Wall", "-Wextra", "-Werror", "-pthread", *options, "-o", program, SOURCE], check=True
    )
    return program


def process_state(pid: int) -> str:
    """Return the letter of a process's state, by /proc/PID/stat (proc_pid_stat(5))."""
    return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0].decode()  # the name may have any bytes


class Victim:
    """One process: started at once, and blocked until `go` lets it do what its mode says.

    Args:
        arguments: More of them, after those that the program itself needs.
        argv: All of them, the program's name first, instead of those.
        wrapper: A command that executes the program, such as chroot(1).
        fds: Descriptors that it inherits, with the same numbers.
    """

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
        arguments: Sequence[bytes] = (),
        argv: Sequence[bytes] | None = None,
        wrapper: Sequence[str | Path] = (),
        env: Mapping[bytes, bytes] | None = None,
        cwd: Path | None = None,
        fds: Collection[int] = (),
    ) -> None:
        needed = {b"VICTIM_COMM": comm} if comm else {}
        if argv is not None:
            needed[b"VICTIM_MODE"] = mode.encode()
        self.process = subprocess.Popen(
            [*wrapper, program, mode, str(megabytes), *arguments] if argv is None else argv,
            executable=None if argv is None else program,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**needed, **(env or {})},
            user=uid,
            cwd=cwd,
            pass_fds=fds,
        )
        self.pid = self.process.pid
        Path(f"/proc/{self.pid}/oom_score_adj").write_text(str(adj))
        cgroup.join(self.pid)
        self._wait_until_blocked()

    def _wait_until_blocked(self) -> None:
        """Until then it has more files open than later, for its libraries are being loaded, or even no arguments yet.

        Popen returns when exec(2) closes the descriptors, which is before the kernel has set up the arguments.
        """
        deadline = time.monotonic() + 10
        while process_state(self.pid) not in "SZ" and time.monotonic() < deadline:
            time.sleep(0.001)

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
