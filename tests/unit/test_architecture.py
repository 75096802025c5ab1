# SPDX-License-Identifier: Apache-2.0
"""The order of the house, read from the sources themselves."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
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
    assert {"cli.py", "probe/loader.py", "output/encode.py", "runtime/pipeline.py"} <= SOURCES.keys()
    assert "orjson" in set(imports(TREES["output/encode.py"]))
    assert "print" in set(calls(TREES["cli.py"]))
    assert "sys.exit" in set(calls(TREES["__main__.py"]))


@pytest.mark.parametrize(
    ("library", "where"),
    [
        ("bcc", {"probe/bcc.py"}),
        ("orjson", {"output/encode.py"}),
        ("pyroute2", {"enrich/netns_addresses.py"}),
        ("json", set()),
    ],
)
def test_each_library_is_known_in_one_place(library, where):
    assert users(library) <= where


def loaded_by(code: str) -> set[str]:
    """Return the modules that are loaded once this code has run in a fresh interpreter."""
    command = [sys.executable, "-c", f"{code}; import sys; print(*sys.modules)"]
    done = subprocess.run(command, cwd=PACKAGE.parent, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


BEFORE_READY = "from ooMtrace.commands import trace"
WITH_ENRICHERS = (
    "from ooMtrace.runtime import line_writer, startup; from ooMtrace.settings import Settings;"
    "startup.enrichers(Settings(), host_pids=True)"
)


def test_what_only_lines_need_is_not_loaded_before_the_probes_are_attached():
    loaded = loaded_by(BEFORE_READY)

    assert {"ooMtrace.probe.loader", "ooMtrace.output.open", "ooMtrace.reconcile.checkpoint"} <= loaded
    assert not {"orjson", "json", "uuid", "threading", "hashlib", "_hashlib", "ooMtrace.events"} & loaded
    packages = {".".join(name.split(".")[:2]) for name in loaded if name.startswith("ooMtrace.")}
    assert not {f"ooMtrace.{name}" for name in ("record", "enrich", "assemble", "kmsg", "explain", "scores")} & packages


def test_what_only_a_missed_kill_needs_is_not_loaded_with_what_lines_need():
    loaded = loaded_by(f"{BEFORE_READY}; {WITH_ENRICHERS}")

    assert {"ooMtrace.record.kill", "ooMtrace.enrich.names", "orjson"} <= loaded
    assert {name for name in loaded if name.startswith("ooMtrace.kmsg.")} == {"ooMtrace.kmsg.device"}
    assert not {"hashlib", "_hashlib"} & loaded  # OpenSSL


def test_what_only_an_option_needs_is_not_loaded_at_the_start():
    loaded = loaded_by(f"{BEFORE_READY}; {WITH_ENRICHERS}")

    assert "ooMtrace.enrich.names" in loaded
    assert not {"ssl", "http.client", "grpc", "pyroute2", "bcc"} & loaded
    outputs = {name for name in loaded if name.startswith("ooMtrace.output.")}
    assert not {f"ooMtrace.output.{name}" for name in ("courier", "formats", "metrics", "stream_socket")} & outputs


def test_what_only_a_compilation_needs_is_not_loaded_at_the_start():
    loaded = loaded_by(f"{BEFORE_READY}; {WITH_ENRICHERS}")

    assert "ooMtrace.probe.loader" in loaded
    assert not {"bcc", "subprocess", "tempfile", "shutil", "ooMtrace.probe.stub_headers"} & loaded


def test_nothing_but_the_standard_library_and_these_is_imported():
    import sys

    known = set(sys.stdlib_module_names) | {"ooMtrace", "bcc", "orjson", "pyroute2", "grpc"}

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
    assert len(SOURCES[name].read_text().splitlines()) <= 300


@pytest.mark.parametrize("path", [*(ROOT / "bpf").glob("*.[ch]")], ids=lambda path: path.name)
def test_a_file_of_the_kernel_side_can_be_read_in_one_sitting(path):
    assert len(path.read_text().splitlines()) <= 500


def test_every_source_has_its_license_line():
    for path in SOURCES.values():
        assert path.read_text().startswith("# SPDX-License-Identifier: Apache-2.0\n"), path


ROOT_FILES = {"__init__.py", "__main__.py", "cli.py", "errors.py", "events.py", "settings.py"}

LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors",),
    ("settings", "events"),
    ("record",),
    ("kernel", "output"),
    ("probe", "kmsg", "assemble", "enrich"),
    ("sources", "reconcile"),
    ("runtime",),
    ("explain",),
    ("scores", "report"),
    ("commands",),
    ("cli",),
    ("__main__",),
)
"""From the bottom to the top: a package or root module imports from those below it only, so neighbours never meet."""

LAYER = {name: height for height, layer in enumerate(LAYERS) for name in layer}


def package_of(name: str) -> str:
    return name.split("/")[0].removesuffix(".py")


def file_of(imported: str) -> str:
    """Find the file in the package that defines `ooMtrace.x.y`."""
    parts = imported.split(".")[1:]
    while parts:
        for candidate in ("/".join(parts) + ".py", "/".join([*parts, "__init__.py"])):
            if candidate in SOURCES:
                return candidate
        parts.pop()
    return "__init__.py"


EDGES = {
    name: {file_of(one) for one in imports(tree) if one.split(".")[0] == "ooMtrace"} for name, tree in TREES.items()
}


def test_the_package_root_has_nothing_but_what_all_share():
    assert {name for name in SOURCES if "/" not in name} == ROOT_FILES
    assert {path.name for path in PACKAGE.iterdir() if path.is_file()} == {*ROOT_FILES, "py.typed"}


def test_every_package_has_its_layer():
    assert {package_of(name) for name in SOURCES} - {"__init__"} <= LAYER.keys()


@pytest.mark.parametrize("name", [name for name in SOURCES if name != "__init__.py"])
def test_imports_go_down_only(name):
    own = package_of(name)
    for target in EDGES[name] - {"__init__.py"}:
        assert package_of(target) == own or LAYER[package_of(target)] < LAYER[own], target


def test_no_module_imports_itself_by_a_detour():
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        if name not in done:
            # A package's __init__ runs before its modules: that one may collect them, and none of them asks it back.
            for target in sorted(EDGES[name] - {name}):
                visit(target, (*path, name))
            done.add(name)

    for name in SOURCES:
        visit(name, ())


def test_only_the_command_line_knows_the_commands():
    knowing = {name for name, tree in TREES.items() for one in imports(tree) if one.startswith("ooMtrace.commands")}

    assert {name for name in knowing if not name.startswith("commands/")} == {"cli.py"}


@pytest.mark.parametrize(
    "name",
    [
        "events.py",
        "settings.py",
        "probe/decode.py",
        "output/encode.py",
        "output/cloudevents.py",
        "output/lines.py",
        "output/metrics.py",
        "output/otlp.py",
        "output/subject.py",
        "output/terminal.py",
        "output/url.py",
        "reconcile/ledger.py",
        "kernel/plan.py",
        "kernel/checks.py",
        "kernel/cmdline.py",
        *(name for name in SOURCES if name.startswith(("assemble/", "output/formats/", "record/"))),
        *(name for name in SOURCES if name.startswith("kmsg/") and name not in ("kmsg/device.py", "kmsg/boot_log.py")),
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
