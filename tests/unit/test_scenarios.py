# SPDX-License-Identifier: Apache-2.0
"""The page on the scenarios names each that there is, and no other."""

from __future__ import annotations

import ast
import os
import re
import subprocess
from pathlib import Path

VAGRANT = Path(__file__).parent.parent.parent / "vagrant"
NO_KILLS = {"z_end", "fentry"}
"""Tests that are of use in the matrix only."""

MEASURES = "crowd"


def scenarios() -> dict[str, Path]:
    files = VAGRANT.glob("scenarios/*/[!_]*.py")
    return {one.stem: one for one in files if one.stem not in NO_KILLS and one.parent.name != MEASURES}


def test_each_scenario_is_described_and_no_other():
    text = (VAGRANT / "README.md").read_text()

    described = re.findall(r"^\| `([a-z_]+)` \|", text, re.MULTILINE) + re.findall(r"there is `(\w+)`", text)

    assert sorted(described) == sorted(scenarios())


def test_each_scenario_says_what_it_is_about_to_do():
    for name, file in scenarios().items():
        assert ast.get_docstring(ast.parse(file.read_text())), name


def test_the_command_lists_what_this_machine_can_do_and_takes_no_other():
    command = VAGRANT / "oomtrace-scenario"

    listed = subprocess.run([command, "--list"], capture_output=True, text=True, check=True).stdout.split()
    refused = subprocess.run([command, "nothing"], capture_output=True, text=True, check=False)

    assert listed
    assert set(listed) <= scenarios().keys()
    assert refused.returncode == (2 if os.geteuid() == 0 else 1)
    assert refused.stderr.count("\n") == 1
