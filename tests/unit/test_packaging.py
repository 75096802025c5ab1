# SPDX-License-Identifier: Apache-2.0
"""What is packaged and pinned: every file of the product, and the versions that pyproject.toml asks for."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent.parent
PINNED = re.compile(r"^([\w.-]+)==(\S+) \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.MULTILINE)
PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")


def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def locked(name: str) -> dict[str, str]:
    """Return the version of each package that a lock file pins by hash; there is nothing else in it."""
    text = (ROOT / "requirements" / name).read_text()
    rest = re.sub(r"^ *(#.*)?\n", "", PINNED.sub("", text), flags=re.MULTILINE)
    assert rest == ""
    return {canonicalize_name(found[1]): found[2] for found in PINNED.finditer(text)}


def asked_for(name: str) -> list[Requirement]:
    """Return what pyproject.toml asks for in that lock file."""
    table = pyproject()
    wanted = {"build.txt": table["build-system"]["requires"], "runtime.txt": table["project"]["dependencies"]}
    return [Requirement(one) for one in wanted[name]]


def source_files() -> set[str]:
    """Return all that the wheel must contain, by the names that it has there."""
    modules = [path.relative_to(ROOT) for path in (ROOT / "ooMtrace").rglob("*.py")]
    kernel_side = [Path("ooMtrace") / path.relative_to(ROOT) for path in (ROOT / "bpf").rglob("*") if path.is_file()]
    return {str(path) for path in [*modules, *kernel_side, Path("ooMtrace/py.typed")]}


def test_every_folder_with_modules_is_a_listed_package():
    folders = {path.parent.relative_to(ROOT) for path in (ROOT / "ooMtrace").rglob("*.py")}

    listed = pyproject()["tool"]["setuptools"]["packages"]

    assert listed == sorted([*(".".join(folder.parts) for folder in folders), "ooMtrace.bpf"])


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with the wheel and the source archive, made from a copy of the tree."""
    tree = tmp_path_factory.mktemp("copy") / "tree"
    tree.mkdir()
    for name in ("ooMtrace", "bpf", "deploy", "docs", "requirements"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in ROOT.iterdir():
        if path.suffix in (".md", ".toml", ".in") or path.name in ("LICENSE", "Makefile"):
            shutil.copy(path, tree)
    build = "from setuptools.build_meta import *; build_wheel('dist'); build_sdist('dist')"
    done = subprocess.run([sys.executable, "-c", build], cwd=tree, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return tree / "dist"


def test_the_wheel_has_every_module_and_every_file_of_the_kernel_side(archives):
    (wheel,) = archives.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()

    assert {name for name in names if ".dist-info/" not in name} == source_files()
    assert [name for name in names if name.endswith("/licenses/LICENSE")]


def test_the_source_archive_has_all_that_packages_are_built_from(archives):
    (archive,) = archives.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        names = {member.name.partition("/")[2] for member in opened if member.isfile()}

    wanted = [
        path for name in ("ooMtrace", "bpf", "deploy", "docs", "requirements") for path in (ROOT / name).rglob("*")
    ]
    files = {str(path.relative_to(ROOT)) for path in wanted if path.is_file() and "__pycache__" not in path.parts}
    assert files | {"Makefile", "CHANGELOG.md", "README.md", "LICENSE", "pyproject.toml"} <= names
    assert not [name for name in names if "__pycache__" in name or name.startswith("tests/")]


@pytest.mark.parametrize("name", ["build.txt", "runtime.txt"])
def test_the_locked_versions_are_those_that_pyproject_allows(name):
    versions, asked = locked(name), asked_for(name)

    assert {canonicalize_name(one.name) for one in asked} <= versions.keys()
    for one in asked:
        assert one.specifier.contains(versions[canonicalize_name(one.name)]), one


@pytest.mark.parametrize("python", PYTHONS)
def test_whatever_the_locked_packages_need_is_locked_too(python):
    versions = {**locked("build.txt"), **locked("runtime.txt")}
    environment = {"python_version": python, "python_full_version": f"{python}.0", "extra": ""}

    for name, version in versions.items():
        assert metadata.version(name) == version, "the virtual environment is older than the lock: run `make .venv/dev`"
        for one in map(Requirement, metadata.requires(name) or ()):
            if one.marker is None or one.marker.evaluate(environment):
                assert one.specifier.contains(versions[canonicalize_name(one.name)]), one


def test_the_guests_have_the_locked_versions():
    versions = locked("runtime.txt")
    userlands = tomllib.loads((ROOT / "tests/vm/matrix.toml").read_text())["userland"]

    for userland in userlands:
        assert dict(one.split("==") for one in userland["wheels"]) == versions


def test_the_hooks_of_pre_commit_run_the_linters_of_make_check():
    hooks = re.findall(r"^ +entry: (?:\.venv/bin/)?(\S+)", (ROOT / ".pre-commit-config.yaml").read_text(), re.MULTILINE)
    checked = re.findall(r'assert_clean\("([\w-]+)"', (ROOT / "tests/unit/test_linters.py").read_text())

    assert sorted(hooks) == sorted(checked)
