# SPDX-License-Identifier: Apache-2.0
"""wire.py mirrors bpf/events.h: the C compiler computes every constant, offset and size for comparison."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ooMtrace.assemble import attribution, victim_context
from ooMtrace.kernel import cmdline
from ooMtrace.probe import wire

BPF = Path(__file__).parents[3] / "bpf"
STRUCTURES = {
    "task": wire.Task,
    "victim": wire.Victim,
    "memcg_level": wire.MemcgLevel,
    "decision": wire.Decision,
    "contents": wire.Contents,
    "victim_event": wire.VictimEvent,
    "candidate": wire.Candidate,
    "ranking": wire.Ranking,
    "socket": wire.Socket,
    "context": wire.Context,
    "exit": wire.Exit,
    "repeat_kill": wire.RepeatKill,
    "cgroup_change": wire.CgroupChange,
    "sigkill": wire.Sigkill,
}
WITH_STRINGS = {
    "victim_event": "strings",
    "ranking": "strings",
    "context": "strings",
    "cgroup_change": "path",
    "sigkill": "strings",
}
CONSTANTS = (
    *(
        "UNKNOWN",
        "COMM_LEN",
        "NODENAME_LEN",
        "MESSAGE_LEN",
        "EXEC_LEN",
        "ARGUMENTS_LEN",
        "MAX_CGROUPS",
        "MAX_CANDIDATES",
    ),
    *("MAX_FRAMES", "MAX_FILE_TYPES", "MAX_INET_SOCKETS", "MAX_UNIX_SOCKETS", "MAX_UNIX_WALKED"),
    *("KIND_DYING", "KIND_KILLED", "KIND_SHARER", "KIND_RANKING", "KIND_CONTEXT", "KIND_EXIT", "KIND_REPEAT_KILL"),
    *("CGROUP_PATH_LEN", "CGROUP_MADE", "CGROUP_REMOVED"),
    "KIND_SIGKILL",
)


def expressions() -> Iterator[tuple[str, str]]:
    """Yield (name, C expression) of every number to compare."""
    for name, mirror in STRUCTURES.items():
        if name in WITH_STRINGS:
            yield f"{name}.strings at", f"offsetof(struct {name}, {WITH_STRINGS[name]})"
        else:
            yield f"sizeof {name}", f"sizeof(struct {name})"
        for field, *_ in mirror._fields_:
            yield f"{name}.{field} at", f"offsetof(struct {name}, {field})"
            yield f"{name}.{field} size", f"sizeof(((struct {name} *)0)->{field})"
    for name in CONSTANTS:
        yield name, name


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """The values of all expressions, as the C compiler computes them."""
    if not shutil.which("cc"):
        reason = "there is no C compiler (cc)"
        (pytest.fail if os.environ.get("CI") or os.environ.get("OOMTRACE_REQUIRE_KERNEL") else pytest.skip)(reason)
    directory = tmp_path_factory.mktemp("wire")
    prints = "".join(
        f'printf("%s=%lld\\n", "{name}", (long long)({expression}));\n' for name, expression in expressions()
    )
    (directory / "print.c").write_text(
        "#include <stddef.h>\n#include <stdio.h>\ntypedef long long s64;\n#include <events.h>\n"
        f"int main(void)\n{{\n{prints}return 0;\n}}\n"
    )
    command = ["cc", "-Wall", "-Wextra", "-Werror", f"-I{BPF}"]
    subprocess.run([*command, "-o", directory / "print", directory / "print.c"], check=True)
    output = subprocess.run([directory / "print"], capture_output=True, text=True, check=True).stdout
    return {name: int(number) for name, number in (line.split("=") for line in output.splitlines())}


@pytest.mark.parametrize("name", STRUCTURES)
def test_every_field_has_the_offset_and_size_of_the_header(compiled, name):
    mirror = STRUCTURES[name]
    for field, *_ in mirror._fields_:
        assert getattr(mirror, field).offset == compiled[f"{name}.{field} at"], field
        assert getattr(mirror, field).size == compiled[f"{name}.{field} size"], field


@pytest.mark.parametrize("name", [name for name in STRUCTURES if name not in WITH_STRINGS])
def test_structures_without_strings_have_the_size_of_the_header(compiled, name):
    assert ctypes.sizeof(STRUCTURES[name]) == compiled[f"sizeof {name}"]


@pytest.mark.parametrize("name", WITH_STRINGS)
def test_structures_with_strings_end_where_the_strings_begin(compiled, name):
    assert ctypes.sizeof(STRUCTURES[name]) == compiled[f"{name}.strings at"]


@pytest.mark.parametrize("name", CONSTANTS)
def test_constants_have_the_value_of_the_header(compiled, name):
    assert getattr(wire, name) == compiled[name]


def test_every_structure_of_the_header_is_mirrored():
    defined = [line.split()[1] for line in (BPF / "events.h").read_text().splitlines() if line.startswith("struct ")]

    assert defined == list(STRUCTURES)


def test_every_field_is_mirrored(compiled):
    """A field that only the header has would leave a gap, or follow the last mirrored field."""
    for name, mirror in STRUCTURES.items():
        end = 0
        for field, *_ in mirror._fields_:
            assert compiled[f"{name}.{field} at"] == end, f"unmirrored field before {name}.{field}"
            end += compiled[f"{name}.{field} size"]
        assert end == compiled[f"{name}.strings at" if name in WITH_STRINGS else f"sizeof {name}"]


def test_constants_of_other_modules_agree_with_the_wire_format():
    assert (victim_context.UNIX_SOCKETS, victim_context.UNIX_WALKED) == (wire.MAX_UNIX_SOCKETS, wire.MAX_UNIX_WALKED)
    assert cmdline.ARGUMENTS == wire.ARGUMENTS_LEN
    assert attribution.MAX_CGROUPS == wire.MAX_CGROUPS
