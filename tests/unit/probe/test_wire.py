# SPDX-License-Identifier: Apache-2.0
"""bpf/events.h and its Python mirror are one: every offset and size, as the C compiler says."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ooMtrace.probe import wire

BPF = Path(__file__).parents[3] / "bpf"
STRUCTURES = {
    "task": wire.Task,
    "victim": wire.Victim,
    "memcg_level": wire.MemcgLevel,
    "decision": wire.Decision,
    "paths": wire.Paths,
    "sighting": wire.VictimEvent,
    "candidate": wire.Candidate,
    "ranking": wire.Ranking,
    "socket": wire.Socket,
    "context": wire.Context,
    "exit": wire.Exit,
    "again": wire.Again,
}
WITH_STRINGS = ("sighting", "ranking", "context")
CONSTANTS = (
    *("LEVELS", "FRAMES", "BEST", "KINDS", "SOCKETS", "UNIX_SOCKETS", "UNKNOWN", "KIND_DYING", "KIND_KILLED"),
    *("KIND_SHARER", "KIND_RANKING", "KIND_CONTEXT", "KIND_EXIT", "KIND_AGAIN"),
)


def questions() -> Iterator[tuple[str, str]]:
    """Yield (what is asked, the C expression that answers)."""
    for name, mirror in STRUCTURES.items():
        if name in WITH_STRINGS:
            yield f"{name}.strings at", f"offsetof(struct {name}, strings)"
        else:
            yield f"sizeof {name}", f"sizeof(struct {name})"
        for field, *_ in mirror._fields_:
            yield f"{name}.{field} at", f"offsetof(struct {name}, {field})"
            yield f"{name}.{field} size", f"sizeof(((struct {name} *)0)->{field})"
    for name in CONSTANTS:
        yield name, name


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """What the C compiler answers."""
    if not shutil.which("cc"):
        reason = "there is no C compiler (cc)"
        (pytest.fail if os.environ.get("CI") or os.environ.get("OOMTRACE_REQUIRE_KERNEL") else pytest.skip)(reason)
    folder = tmp_path_factory.mktemp("wire")
    prints = "".join(f'printf("%s=%lld\\n", "{what}", (long long)({how}));\n' for what, how in questions())
    (folder / "ask.c").write_text(
        "#include <stddef.h>\n#include <stdio.h>\ntypedef long long s64;\n#include <events.h>\n"
        f"int main(void)\n{{\n{prints}return 0;\n}}\n"
    )
    command = ["cc", "-Wall", "-Wextra", "-Werror", f"-I{BPF}", "-o", folder / "ask", folder / "ask.c"]
    subprocess.run(command, check=True)
    answer = subprocess.run([folder / "ask"], capture_output=True, text=True, check=True).stdout
    return {what: int(number) for what, number in (line.split("=") for line in answer.splitlines())}


@pytest.mark.parametrize("name", STRUCTURES)
def test_every_field_lies_where_the_compiler_puts_it(compiled, name):
    mirror = STRUCTURES[name]
    for field, *_ in mirror._fields_:
        assert getattr(mirror, field).offset == compiled[f"{name}.{field} at"], field
        assert getattr(mirror, field).size == compiled[f"{name}.{field} size"], field


@pytest.mark.parametrize("name", [name for name in STRUCTURES if name not in WITH_STRINGS])
def test_the_mirror_ends_where_the_structure_ends(compiled, name):
    assert ctypes.sizeof(STRUCTURES[name]) == compiled[f"sizeof {name}"]


@pytest.mark.parametrize("name", WITH_STRINGS)
def test_a_record_without_its_strings_ends_where_they_begin(compiled, name):
    assert ctypes.sizeof(STRUCTURES[name]) == compiled[f"{name}.strings at"]


@pytest.mark.parametrize("name", CONSTANTS)
def test_constants_are_the_same(compiled, name):
    assert getattr(wire, name) == compiled[name]


def test_no_structure_of_the_header_is_without_a_mirror():
    defined = [line.split()[1] for line in (BPF / "events.h").read_text().splitlines() if line.startswith("struct ")]

    assert defined == list(STRUCTURES)


def test_every_field_is_mirrored(compiled):
    """No gap, and nothing after the last: what the header has more would lie there."""
    for name, mirror in STRUCTURES.items():
        end = 0
        for field, *_ in mirror._fields_:
            assert compiled[f"{name}.{field} at"] == end, f"something lies before {name}.{field}"
            end += compiled[f"{name}.{field} size"]
        assert end == compiled[f"{name}.strings at" if name in WITH_STRINGS else f"sizeof {name}"]
