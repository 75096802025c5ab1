# SPDX-License-Identifier: Apache-2.0
"""The BPF helpers and programs, compiled with cc and run in user space (harness.h, maps.h)."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
BPF = HERE.parents[2] / "bpf"
TESTS = [
    (source.stem, name)
    for source in sorted(HERE.glob("*.c"))
    for name in re.findall(r"^TEST\((\w+)\)", source.read_text(), re.MULTILINE)
]


def absent_members() -> list[str]:
    """Return a macro of -1 for each member and counter of the kernel that harness.h does not model."""
    headers = "".join(path.read_text() for path in BPF.glob("*.[ch]"))
    used = set(re.findall(r"\b(?:OFF|SIZE|MEMCG)_[A-Z0-9_]+\b", headers))
    modelled = set(re.findall(r"#define\s+(\w+)", headers + (HERE / "harness.h").read_text()))
    return [f"-D{name}=-1" for name in sorted(used - modelled)]


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Compile every C file here."""
    if not shutil.which("cc"):
        reason = "there is no C compiler (cc)"
        (pytest.fail if os.environ.get("CI") or os.environ.get("OOMTRACE_REQUIRE_KERNEL") else pytest.skip)(reason)
    directory = tmp_path_factory.mktemp("bpf")
    macros = [*absent_members(), "-DPER_CPU_OFFSET=0", "-DNR_CPUS=1"]
    for source in HERE.glob("*.c"):
        command = ["cc", "-O1", "-Wall", "-Werror", f"-I{BPF}", *macros]
        subprocess.run([*command, "-o", directory / source.stem, source], check=True)
    return {source.stem: directory / source.stem for source in HERE.glob("*.c")}


@pytest.mark.parametrize(("program", "name"), TESTS, ids=[f"{program}-{name}" for program, name in TESTS])
def test_bpf_helper(programs, program, name):
    done = subprocess.run([programs[program], name], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr or f"exit status {done.returncode}"
