# SPDX-License-Identifier: Apache-2.0
"""On a terminal the demo explains its kill; the examples in the documentation of explain and scores work."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
from pathlib import Path

import pytest
from support.explained import line
from support.tracer import COMMAND

DOCS = Path(__file__).parents[2] / "docs"
EXAMPLES = [
    (page, example.split("#")[0].strip())
    for page in ("explain.md", "scores.md")
    for block in re.findall(r"```sh\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    for example in block.splitlines()
]


def test_the_demo_explains_its_kill_on_a_terminal():
    master, slave = pty.openpty()
    done = subprocess.run([COMMAND, "demo"], stdout=slave, stderr=subprocess.PIPE, text=True, check=False, timeout=120)
    os.close(slave)
    rows = os.read(master, 1 << 16).decode().splitlines()
    os.close(master)

    assert done.returncode == 0, done.stderr
    assert "Killed: " in rows[0]
    assert rows[-2:] == ["Nothing to do: this was the demo of oomtrace.", ""]
    assert len(rows) <= 26


@pytest.mark.parametrize(("page", "example"), EXAMPLES)
def test_every_example_of_the_documentation_works(tmp_path, page, example):
    """The tracer is ended after some seconds; a host without limited cgroups has none at or above a path."""
    lines = tmp_path / "oomtrace.log"
    lines.write_text(json.dumps(line("spike")) + "\n")
    command = (
        example.removeprefix("sudo ").replace("oomtrace", str(COMMAND), 1).replace("/var/log/oomtrace.log", str(lines))
    )
    is_tracer = example.startswith("sudo oomtrace --")
    done = subprocess.run(
        ["timeout", "--preserve-status", "-s", "INT", "8" if is_tracer else "120", "bash", "-c", f"exec {command}"],
        capture_output=True,
        text=True,
        check=False,
    )

    if "--cgroup" in example and done.returncode:
        assert "no memory cgroup with a limit and processes is at or above /system.slice" in done.stderr
    elif "oomtrace logs" in example:  # of this host's kernel log: what it has is not up to us
        assert done.returncode in (0, 1), done.stderr
    else:
        assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
