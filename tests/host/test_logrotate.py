# SPDX-License-Identifier: Apache-2.0
"""A real logrotate with the shipped file, while processes are killed: no line is lost.

`make test-pipeline` has eight times as many kills, and measures what copytruncate loses.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from support.packages import environment_of, unpacked
from support.pipelines import LOGROTATE
from support.receivers import wait_for
from support.storm import Storm
from support.tracer import Line, RunningTracer, victim_of

from ooMtrace.kernel.scratch_cgroup import ScratchCgroup

SHIPPED = (Path(__file__).parents[2] / "deploy/logrotate/oomtrace").read_text()
LONG = bool(os.environ.get("OOMTRACE_PIPELINE"))
ROTATIONS, KILLS_BETWEEN = (20, 50) if LONG else (4, 30)


class Rotation:
    """logrotate with the shipped file, of which only the path, the signal and the number of kept files are changed."""

    def __init__(self, folder: Path, process: int, **changes: str) -> None:
        signal = "systemctl kill --kill-who=main --signal=HUP oomtrace.service"
        text = SHIPPED
        edits = {"/var/log/oomtrace": str(folder), signal: f"kill -HUP {process}", "rotate 8": "rotate 999", **changes}
        for old, new in edits.items():
            assert old in text, old
            text = text.replace(old, new)
        self._folder = folder
        self._config, self._root = folder / "logrotate.conf", unpacked(*LOGROTATE)
        self._config.write_text(text)
        self._config.chmod(0o644)

    def run(self) -> None:
        """Rotate now, as logrotate does when the week is over."""
        command: list[str | Path] = [self._root / "usr/sbin/logrotate", "--force", "--state", self._folder / "state"]
        env = {**os.environ, **environment_of(self._root)}
        done = subprocess.run([*command, self._config], env=env, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")

    def kept(self) -> list[list[Line]]:
        """Return the lines of each file, the oldest first."""

        def age(file: Path) -> int:
            return int((re.findall(r"\.log\.(\d+)", file.name) or ["0"])[0])

        files = sorted(self._folder.glob("oomtrace.log*"), key=age, reverse=True)
        raw = [gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes() for file in files]
        return [[json.loads(line) for line in each.splitlines()] for each in raw]


def rotated(folder: Path, program: Path, cgroup: ScratchCgroup, **changes: str) -> tuple[list[int], list[list[Line]]]:
    """Kill processes while logrotate runs again and again; return their pids, and the lines in the files."""
    (folder / "log").mkdir(0o700)
    log = folder / "log/oomtrace.log"
    killed = []
    with RunningTracer(folder, output=log, repairs=True) as tracer:
        rotation = Rotation(folder / "log", tracer.process.pid, **changes)
        with Storm(program, cgroup, ROTATIONS * KILLS_BETWEEN) as running:
            for _ in range(ROTATIONS):
                killed += running.take(KILLS_BETWEEN)
                # it has reopened: logrotate leaves an empty file as it is
                wait_for(lambda: log.stat().st_size > 0)
                rotation.run()
    return killed, rotation.kept()


def test_no_line_is_lost_while_the_file_is_rotated(tmp_path, cgroup, program):
    killed, kept = rotated(tmp_path, program, cgroup())

    lines = [line for each in kept for line in each]
    print(f"\n{len(lines)} lines in {len(kept)} files")
    assert len(kept) == ROTATIONS + 1
    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
    assert set(killed) <= {victim_of(line) for line in lines}


@pytest.mark.skipif(not LONG, reason="a measurement: make test-pipeline")
def test_what_copytruncate_loses_is_measured(tmp_path, cgroup, program):
    _, kept = rotated(tmp_path, program, cgroup(), **{"    create\n": "    copytruncate\n"})

    found = {line["seq"] for each in kept for line in each}
    print(f"\ncopytruncate: {max(found) - len(found)} of {max(found)} lines lost in {ROTATIONS} rotations")
    assert len(kept) == ROTATIONS + 1
