# SPDX-License-Identifier: Apache-2.0
"""A Python that is too old is named before anything fails in a less readable way."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# What both commands run is as it would be in Python 3.9, except that the interpreter is newer.
OLD_PYTHON = f"""\
#!{sys.executable} -IS
import sys
sys.version_info = (3, 9, 2)
if sys.argv[1] != "-c":
    sys.exit("there is no setup.py")
exec(sys.argv[2])
"""


@pytest.mark.parametrize("target", ["venv", "install"])
def test_make_names_the_version_that_is_needed(tmp_path, target):
    python = tmp_path / "python3"
    python.write_text(OLD_PYTHON)
    python.chmod(0o755)
    variables = [f"PYTHON={python}", f"VENV={tmp_path}/venv", f"PREFIX={tmp_path}"]
    # what `install` wants first from apt is not wanted here
    command = ["make", "--old-file=packages", "--assume-old=packages", *variables, target]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert done.stderr.startswith(
        f"oomtrace needs Python 3.10 or later; {python} is 3.9: use Debian 12, Ubuntu 22.04 or later\n"
    )
    assert "setup.py" not in done.stderr
    assert not (tmp_path / "venv").exists()


def test_the_command_names_the_version_that_is_needed():
    source = (ROOT / "ooMtrace/__main__.py").read_text()
    ast.parse(source, feature_version=(3, 9))
    old = "import sys; sys.version_info = (3, 9, 2); exec(sys.stdin.read())"
    done = subprocess.run([sys.executable, "-IS", "-c", old], input=source, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert (
        done.stderr == "oomtrace: needs Python 3.10 or later, and this is 3.9; use Debian 12, Ubuntu 22.04 or later\n"
    )
