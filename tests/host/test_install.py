# SPDX-License-Identifier: Apache-2.0
"""The installed command works without the checkout, and can be removed again."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def make(*arguments: object) -> None:
    subprocess.run(["make", "--silent", "-C", ROOT, *map(str, arguments)], check=True, capture_output=True)


def test_make_install_gives_a_command_that_needs_no_checkout(tmp_path):
    make("install", f"PREFIX={tmp_path}")
    command = tmp_path / "bin/oomtrace"

    done = subprocess.run([command, "demo"], capture_output=True, check=True, cwd="/")
    assert json.loads(done.stdout)["event"] == "oom_kill"
    installed = {path.relative_to(tmp_path) for path in tmp_path.rglob("oomtrace.bpf.c")}
    assert len(installed) == 1

    make("uninstall", f"PREFIX={tmp_path}")
    assert not command.exists()
    assert not (tmp_path / "lib/oomtrace").exists()
