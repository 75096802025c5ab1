# SPDX-License-Identifier: Apache-2.0
"""On a terminal the demo explains its kill; the lines of a real tracer can be explained."""

from __future__ import annotations

import os
import pty
import subprocess

from support.tracer import COMMAND


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


def test_the_line_of_the_demo_can_be_explained():
    line = subprocess.run([COMMAND, "demo"], capture_output=True, text=True, check=True, timeout=120).stdout
    done = subprocess.run([COMMAND, "explain"], input=line, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Killed: python3 ")
