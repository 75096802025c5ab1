# SPDX-License-Identifier: Apache-2.0
"""Whether modules can be imported when CAP_DAC_OVERRIDE is dropped."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ooMtrace.runtime.late_imports import PACKAGE, can_import_later

OTHER = 4321


@pytest.fixture
def package(tmp_path) -> Path:
    package = tmp_path / "home/checkout/package"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    for path in tmp_path.parents:  # made by pytest, for its user alone
        path.stat().st_uid == os.geteuid() or pytest.skip("needs a directory of its own user")
    return package


def test_a_package_of_the_same_user_can_be_read(package):
    package.parent.chmod(0o700)

    assert can_import_later(package)


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files away")
@pytest.mark.parametrize(
    "place", ["home", "home/checkout", "home/checkout/package", "home/checkout/package/__init__.py"]
)
@pytest.mark.parametrize(("mode", "readable"), [(0o700, False), (0o750, False), (0o705, False), (0o755, True)])
def test_what_another_user_may_only_read_as_its_owner_or_group_cannot_be_read(package, tmp_path, place, mode, readable):
    os.chown(tmp_path / place, OTHER, OTHER)
    (tmp_path / place).chmod(mode)

    assert can_import_later(package) == readable


def test_a_package_that_is_not_there_cannot_be_read(tmp_path):
    assert not can_import_later(tmp_path / "none")


def test_all_is_what_a_start_with_kills_loads():
    code = (
        "import sys; from ooMtrace.runtime.late_imports import import_all; import_all(); before = set(sys.modules);"
        "from ooMtrace.runtime.startup import open_tracer; from ooMtrace.runtime.line_writer import LineWriter;"
        "from ooMtrace.kmsg.boot_log import read_boot_log; from ooMtrace.output.encode import encode;"
        "print(*(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent, capture_output=True, text=True, check=True)

    assert done.stdout.split() == []
