# SPDX-License-Identifier: Apache-2.0
"""The page on the scenarios describes each of them, and no other."""

from __future__ import annotations

import ast
import os
import re
import subprocess
from pathlib import Path

VAGRANT = Path(__file__).parent.parent.parent / "vagrant"
NO_KILLS = {"z_end", "fentry", "own_service"}
"""Tests for the matrix only."""

MEASURES = "crowd"


def scenarios() -> dict[str, Path]:
    files = VAGRANT.glob("scenarios/*/[!_]*.py")
    return {file.stem: file for file in files if file.stem not in NO_KILLS and file.parent.name != MEASURES}


def test_each_scenario_is_described_and_no_other():
    text = (VAGRANT / "README.md").read_text()

    described = re.findall(r"^\| `([a-z_]+)` \|", text, re.MULTILINE) + re.findall(r"there is `(\w+)`", text)

    assert sorted(described) == sorted(scenarios())


def test_each_scenario_has_a_docstring_to_show():
    for name, file in scenarios().items():
        assert ast.get_docstring(ast.parse(file.read_text())), name


def test_the_command_lists_the_scenarios_of_this_machine_and_refuses_others():
    command = VAGRANT / "oomtrace-scenario"

    listed = subprocess.run([command, "--list"], capture_output=True, text=True, check=True).stdout.split()
    refused = subprocess.run([command, "nothing"], capture_output=True, text=True, check=False)

    assert listed
    assert set(listed) <= scenarios().keys()
    assert refused.returncode == (2 if os.geteuid() == 0 else 1)
    assert refused.stderr.count("\n") == 1
