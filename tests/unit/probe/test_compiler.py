# SPDX-License-Identifier: Apache-2.0
"""The compiler's process: what it is given, what it hands over, and each way in which it fails."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from ooMtrace.errors import CannotTraceError, ProbeError
from ooMtrace.kernel.plan import Plan
from ooMtrace.probe import compiler
from ooMtrace.probe.bpf_sources import bpf_dir
from ooMtrace.probe.image import PLACEHOLDER, Image, MapDefinition, encode_image

MACROS = {"OFF_TASK_MM": 8, "OFF_X": -1, "KILLER_0_LOW": 1 << 63, "SMALL": (1 << 63) - 1}
PLAN = Plan("reduced", "oomtrace.bpf.c", MACROS, (), (), addresses={"OOM_KILL_PROCESS": 0xFFFFFFFF81234560})
IMAGE = Image((MapDefinition("events", 4, 4, 4, 2, 0),), (), ("OOM_KILL_PROCESS",))

FAKE = """
import os, sys
class BPF:
    def __init__(self, text, cflags):
        with open({record!r}, "w") as file:
            print(len(text), os.environ["BCC_KERNEL_SOURCE"], os.environ.get("ARCH"), sep="\\n", file=file)
            print(*cflags, sep="\\n", file=file)
        os.write(1, b"printed to stdout\\n")
        os.write(2, b"printed to stderr\\n")
        {action}
        raise Exception("Failed to compile\\n BPF module <text>")
"""


@pytest.fixture
def child(monkeypatch, tmp_path):
    """Let the child find this module in place of BCC's; return the file to which it writes what it was given."""

    def place(action: str = "pass") -> Path:
        (tmp_path / "bcc.py").write_text(FAKE.format(record=str(tmp_path / "record"), action=action))
        monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
        return tmp_path / "record"

    return place


def test_the_compiler_is_given_the_macros_and_no_kernel_address(child, monkeypatch):
    record = child()
    monkeypatch.setenv("ARCH", "arm64")
    with pytest.raises(ProbeError):
        compiler.compile_image(PLAN, "6.1.0")

    size, tree, arch, *flags = record.read_text().splitlines()
    assert int(size) == (bpf_dir() / "oomtrace.bpf.c").stat().st_size
    assert arch == "None"
    assert not Path(tree).exists()
    assert flags[:6] == [
        *(f"-I{bpf_dir()}", "-w", "-DOFF_TASK_MM=8", "-DOFF_X=-1"),
        *("-DKILLER_0_LOW=9223372036854775808ULL", "-DSMALL=9223372036854775807"),
    ]
    assert [flag.partition("=")[0] for flag in flags[6:]] == ["-DOOM_KILL_PROCESS"]
    assert f"{PLACEHOLDER:#x}" in flags[6]
    assert "81234560" not in flags[6]


def test_a_failure_has_its_reason_and_the_log(child, capfd):
    child()
    with pytest.raises(ProbeError) as caught:
        compiler.compile_image(PLAN, "6.1.0")

    assert caught.value.fact == "level reduced: Failed to compile BPF module <text>"
    assert caught.value.detail == "printed to stdout\nprinted to stderr\n"
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("action", "fact"),
    [
        ("os._exit(3)", "the compiler ended with status 3"),
        ("os.abort()", "the compiler ended with status -6"),
        ("os._exit(0)", "the compiler's output is unusable"),
    ],
)
def test_a_compiler_that_ends_otherwise_is_an_error(child, action, fact):
    child(action)
    with pytest.raises(ProbeError) as caught:
        compiler.compile_image(PLAN, "6.1.0")

    assert caught.value.fact == f"level reduced: {fact}"


def test_without_bcc_nothing_can_be_traced(monkeypatch, tmp_path):
    (tmp_path / "bcc.py").write_text("raise ImportError")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])

    with pytest.raises(CannotTraceError, match=r"bcc\.py is not BCC, and hides it; remove or rename"):
        compiler.compile_image(PLAN, "6.1.0")


def test_what_it_hands_over_is_the_image(monkeypatch, tmp_path):
    (tmp_path / "image").write_bytes(encode_image(IMAGE, compiler.UNUSED_KEY))
    code = f"import os, sys; os.write(1, open({str(tmp_path / 'image')!r}, 'rb').read())"
    monkeypatch.setattr(compiler, "CHILD", code)

    assert compiler.compile_image(PLAN, "6.1.0") == IMAGE


def test_where_no_process_can_be_started_the_reason_is_stated(monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise OSError(11, os.strerror(11))

    monkeypatch.setattr(subprocess, "run", refuse)
    with pytest.raises(ProbeError, match=r"^level reduced: the compiler cannot be run: .*temporarily unavailable"):
        compiler.compile_image(PLAN, "6.1.0")


@pytest.mark.parametrize("free", range(4))
def test_with_too_few_descriptors_it_fails_and_leaves_none_open(child, free):
    child()
    before = len(list(Path("/proc/self/fd").iterdir()))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = [os.dup(0) for _ in range(40)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(held) + 1, limits[1]))
    try:
        for fd in held[:free]:
            os.close(fd)
        with pytest.raises(ProbeError) as caught:
            compiler.compile_image(PLAN, "6.1.0")
        left = [os.dup(0) for _ in range(free)]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    for fd in {*held[free:], *left}:
        os.close(fd)

    assert caught.value.fact == "level reduced: the compiler cannot be run: Too many open files"
    assert len(list(Path("/proc/self/fd").iterdir())) == before
