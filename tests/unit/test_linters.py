# SPDX-License-Identifier: Apache-2.0
"""The linters. A missing one is a skip on a laptop, and a failure in CI and in `make test`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
HIDDEN = {".git", ".venv", "build", "dist"}


def tool(name: str) -> str:
    """Find a tool beside this Python or in PATH."""
    found = shutil.which(name, path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
    if not found:
        promised = os.environ.get("CI") or os.environ.get("OOMTRACE_REQUIRE_KERNEL")
        (pytest.fail if promised else pytest.skip)(f"{name} is not installed")
    return found


def assert_clean(name: str, *arguments: object) -> None:
    done = subprocess.run(
        [tool(name), *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def scripts() -> list[Path]:
    found = [path for path in ROOT.rglob("*.sh") if not HIDDEN & set(path.relative_to(ROOT).parts)]
    unnamed = (
        ".ci/run",
        "deploy/build-deb",
        "deploy/build-rpm",
        "deploy/debian/oomtrace.prerm",
        "deploy/pipeline/kafka/oomtrace-to-kafka",
        "deploy/debian/oomtrace.postrm",
        "vagrant/oomtrace-scenario",
        "tests/vm/guest/go",
        "tests/vm/guest/init",
    )
    return found + [ROOT / name for name in unnamed if (ROOT / name).exists()]


def test_ruff_finds_nothing():
    assert_clean("ruff", "check", ".")


def test_python_is_formatted():
    assert_clean("ruff", "format", "--check", ".")


def test_mypy_finds_nothing():
    assert_clean("mypy")  # `files` in pyproject.toml


def test_c_is_formatted():
    files = sorted(
        [
            *ROOT.glob("bench/*.c"),
            *ROOT.glob("bpf/*.c"),
            *ROOT.glob("bpf/*.h"),
            *ROOT.glob("tests/support/*.c"),
            *ROOT.glob("tests/unit/bpf/*.[ch]"),
        ]
    )
    assert files

    assert_clean("clang-format", "--dry-run", "-Werror", *files)


def test_shellcheck_finds_nothing():
    found = scripts()
    if not found:
        pytest.skip("there are no shell scripts here")

    assert_clean("shellcheck", *found)
