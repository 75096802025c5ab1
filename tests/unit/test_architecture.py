# SPDX-License-Identifier: Apache-2.0
"""The order of the house, read from the sources themselves."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PACKAGE = ROOT / "ooMtrace"
SOURCES = {str(path.relative_to(PACKAGE)): path for path in sorted(PACKAGE.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text()) for name, path in SOURCES.items()}


def imports(tree: ast.AST) -> Iterator[str]:
    """Yield the full names of what is imported, at the top or anywhere else."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide who knows whom"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def calls(tree: ast.AST) -> Iterator[str]:
    """Yield what is called, as `name` or `module.name`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)


def users(library: str) -> set[str]:
    return {name for name, tree in TREES.items() for one in imports(tree) if one.split(".")[0] == library}


def test_the_sources_are_found():
    assert {"cli.py", "probe/loader.py", "encode.py", "pipeline.py"} <= SOURCES.keys()
    assert "orjson" in set(imports(TREES["encode.py"]))
    assert "print" in set(calls(TREES["cli.py"]))
    assert "sys.exit" in set(calls(TREES["__main__.py"]))


@pytest.mark.parametrize(
    ("library", "where"),
    [("bcc", {"probe/loader.py"}), ("orjson", {"encode.py"}), ("pyroute2", {"enrich/network.py"}), ("json", set())],
)
def test_each_library_is_known_in_one_place(library, where):
    assert users(library) <= where


def test_nothing_but_the_standard_library_and_these_is_imported():
    import sys

    known = set(sys.stdlib_module_names) | {"ooMtrace", "bcc", "orjson", "pyroute2"}

    assert {one.split(".")[0] for tree in TREES.values() for one in imports(tree)} <= known


@pytest.mark.parametrize("name", [name for name in SOURCES if name not in ("cli.py", "__main__.py")])
def test_only_the_command_line_prints_and_exits(name):
    called = set(calls(TREES[name]))

    assert not called & {"print", "exit", "quit", "sys.exit", "os._exit", "input"}
    assert not {one for one in called if one.startswith(("sys.stdout.write", "sys.stderr.write", "sys.stdout.buffer"))}
    assert "SystemExit" not in ast.unparse(TREES[name])


@pytest.mark.parametrize("name", SOURCES)
def test_no_failure_is_swallowed_whole(name):
    broad = {"Exception", "BaseException"}
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"line {node.lineno}: bare except"
            raises = any(isinstance(one, ast.Raise) for one in ast.walk(node))
            assert ast.unparse(node.type) not in broad or raises, f"line {node.lineno}: swallows everything"
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("suppress"):
            assert not {ast.unparse(one) for one in node.args} & broad, f"line {node.lineno}"


@pytest.mark.parametrize("name", SOURCES)
def test_a_file_can_be_read_in_one_sitting(name):
    assert len(SOURCES[name].read_text().splitlines()) < 320


def test_every_source_has_its_license_line():
    for path in SOURCES.values():
        assert path.read_text().startswith("# SPDX-License-Identifier: Apache-2.0\n"), path


STAGES = {
    "probe": ("probe/",),
    "assemble": ("assemble.py", "compose.py", "inventory.py", "judge.py"),
    "enrich": ("enrich/",),
    "kmsg": ("kmsg/",),
    "encode": ("encode.py",),
    "sinks": ("sinks/",),
    "schema": ("schema.py",),
}
MEETING_POINTS = ("record", "record_fields", "wording", "sighting", "errors", "kernel")


def stage(name: str) -> str | None:
    return next((stage for stage, prefixes in STAGES.items() if name.startswith(prefixes)), None)


def file_of(imported: str) -> str:
    """Find the file in the package that defines `ooMtrace.x.y`."""
    parts = imported.split(".")[1:]
    while parts:
        for candidate in ("/".join(parts) + ".py", "/".join([*parts, "__init__.py"])):
            if candidate in SOURCES:
                return candidate
        parts.pop()
    return "__init__.py"


@pytest.mark.parametrize("name", [name for name in SOURCES if stage(name)])
def test_stages_meet_in_the_record_and_know_nothing_of_each_other(name):
    for imported in imports(TREES[name]):
        if imported.startswith("ooMtrace"):
            target = file_of(imported)
            own = stage(target) == stage(name)
            assert own or target.split("/")[0].removesuffix(".py") in MEETING_POINTS, imported


@pytest.mark.parametrize(
    "name", [name for name in SOURCES if name.split("/")[0] in ("kernel", "sighting.py") or name.startswith("record")]
)
def test_what_all_build_on_builds_on_nothing_of_theirs(name):
    for imported in imports(TREES[name]):
        if imported.startswith("ooMtrace"):
            base = file_of(imported).split("/")[0]
            assert (
                base in ("kernel", "errors.py")
                or (base.startswith("record_") and name == "record.py")
                or (base == "record_fields.py" and name.startswith("record"))
            ), imported


def test_only_the_command_line_knows_the_commands():
    knowing = {name for name, tree in TREES.items() for one in imports(tree) if one.startswith("ooMtrace.commands")}

    assert {name for name in knowing if not name.startswith("commands/")} == {"cli.py"}


@pytest.mark.parametrize(
    "name",
    [
        "probe/decode.py",
        "assemble.py",
        "compose.py",
        "inventory.py",
        "judge.py",
        "encode.py",
        "ledger.py",
        "state.py",
        "wording.py",
        "visible.py",
        "kernel/plan.py",
        "kernel/checks.py",
        "kernel/gfp.py",
        "kernel/cmdline.py",
        *(name for name in SOURCES if name.startswith("kmsg/")),
    ],
)
def test_what_is_called_pure_touches_nothing_outside(name):
    outside = {"os", "time", "pathlib", "subprocess", "socket", "io", "tempfile", "random"}

    assert not {one.split(".")[0] for one in imports(TREES[name])} & outside
    assert "open" not in set(calls(TREES[name]))
    assert set(re.findall(r"\bsys\.\w+", ast.unparse(TREES[name]))) <= {"sys.byteorder"}


def test_no_bcc_program_hides_in_a_python_string():
    for name, path in SOURCES.items():
        assert "bpf_probe_read" not in path.read_text(), name
        assert "SEC(" not in path.read_text(), name
