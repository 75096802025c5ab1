# SPDX-License-Identifier: Apache-2.0
"""Programs are compiled once, not in the tracer; a cached file that another user could have written is refused."""

from __future__ import annotations

import os
import re
import stat
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.tracer import RunningTracer
from support.victims import Victim

from ooMtrace.kernel.features import observe
from ooMtrace.kernel.plan import plan
from ooMtrace.probe.image import HEADER, KEY_SIZE, decode_image, encode_image

NOBODY = 65534
MAGIC_SIZE = HEADER.size - KEY_SIZE - 32 - 4


@pytest.fixture
def directory(tmp_path, monkeypatch) -> Path:
    path = tmp_path / "cache"
    path.mkdir(0o700)
    monkeypatch.setenv("CACHE_DIRECTORY", str(path))
    return path


@pytest.fixture
def kill(victim, cgroup) -> Callable[[RunningTracer], None]:
    """Return a function that makes a kill and checks the tracer's line about it."""

    def make(tracer: RunningTracer) -> None:
        killed: Victim = victim("hog", cgroup(16), 40)
        killed.go()
        killed.end()
        (line,) = tracer.lines_of([killed.pid])
        assert (line["event"], line["oom"]["verdict"]) == ("oom_kill", "killed")

    return make


def files(directory: Path) -> dict[str, int]:
    return {path.name: path.stat().st_ino for path in directory.iterdir()}


def warnings(tracer: RunningTracer) -> list[str]:
    return re.findall(r"^oomtrace: the cache.*$", tracer.messages(), re.MULTILINE)


def test_the_compiler_never_enters_the_tracer_and_runs_once(directory, tmp_path, kill):
    seen = []
    for _ in range(2):
        with RunningTracer(tmp_path) as tracer:
            maps = Path(f"/proc/{tracer.process.pid}/maps").read_text()
            assert "libbcc_bpf.so" in maps
            assert not re.findall(r"/lib(?:LLVM|clang|bcc\.so)\S*", maps)
            kill(tracer)
            assert not warnings(tracer)
        (tmp_path / "ready").unlink(missing_ok=True)
        seen.append(files(directory))
    assert seen[0] == seen[1]
    assert sorted(Path(name).suffix for name in seen[0]) == [".bpf", ".kernel"]


def numbers(data: bytes, size: int) -> Iterator[int]:
    """Yield the number at every offset."""
    for offset in range(len(data) - size + 1):
        yield int.from_bytes(data[offset : offset + size], "little")


def kernel_addresses(data: bytes, named: set[int], symbols: set[int]) -> set[int]:
    """Return what looks like an address: of any symbol, or as an instruction's operand of 32 bits of a named one."""
    operands = {
        (sign * address + offset) & 0xFFFFFFFF for address in named for sign in (1, -1) for offset in (-1, 0, 1)
    }
    return (set(numbers(data, 8)) & symbols) | (set(numbers(data, 4)) & operands)


def test_no_kernel_address_is_in_a_cached_file(directory, tmp_path):
    chosen = plan(observe())
    named = {address for address in chosen.addresses.values() if address}
    symbols = {int(line.split()[0], 16) for line in Path("/proc/kallsyms").read_text().splitlines()}
    symbols = {address for address in symbols if address >> 63}
    assert named
    assert named <= symbols
    with RunningTracer(tmp_path):
        pass
    for file in directory.iterdir():
        assert not kernel_addresses(file.read_bytes(), named, symbols)
    (file,) = directory.glob("*.bpf")
    data = file.read_bytes()
    image = decode_image(data, data[MAGIC_SIZE : MAGIC_SIZE + KEY_SIZE])
    loaded = [
        program.relocated([0] * len(image.maps), [chosen.addresses[name] for name in image.addresses])
        for program in image.programs
    ]
    assert kernel_addresses(b"".join(loaded), named, symbols), "an address that is there must be found"


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def link(path: Path) -> None:
    path.symlink_to(path.rename(path.parent.parent / "elsewhere"))


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


def other_kernel(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[MAGIC_SIZE] ^= 1  # its key
    path.write_bytes(data)


def other_code(path: Path) -> None:
    """Keep the file valid, with programs that the verifier refuses."""
    data = path.read_bytes()
    key = data[MAGIC_SIZE : MAGIC_SIZE + KEY_SIZE]
    image = decode_image(data, key)
    endless = struct.pack("<BBhi", 0x05, 0, -1, 0)  # a jump to itself
    programs = tuple(replace(program, code=endless, maps=(), addresses=()) for program in image.programs)
    path.write_bytes(encode_image(replace(image, programs=programs), key))


FAULTS: dict[str, Callable[[Path], None]] = {
    "one bit flipped": flip,
    "truncated": lambda path: os.truncate(path, 1000),
    "1 GB": lambda path: os.truncate(path, 1 << 30),
    "a link": link,
    "a FIFO": fifo,
    "of another user": lambda path: os.chown(path, NOBODY, NOBODY),
    "writable by others": lambda path: path.chmod(0o606),
    "of another kernel": other_kernel,
    "refused by the verifier": other_code,
}


@pytest.fixture(scope="module")
def compiled(tmp_path_factory) -> tuple[str, bytes]:
    """Return name and contents of the file for level `minimal`."""
    folder = tmp_path_factory.mktemp("compiled")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CACHE_DIRECTORY", str(folder / "cache"))
        (folder / "cache").mkdir(0o700)
        with RunningTracer(folder, "--level", "minimal"):
            pass
    (file,) = (folder / "cache").glob("*.bpf")
    return file.name, file.read_bytes()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_file_that_cannot_be_trusted_costs_one_message_and_no_kill(directory, tmp_path, kill, compiled, fault):
    name, data = compiled
    (directory / name).write_bytes(data)
    (directory / name).chmod(0o600)
    FAULTS[fault](directory / name)

    with RunningTracer(tmp_path, "--level", "minimal") as tracer:
        kill(tracer)
        assert len(warnings(tracer)) == 1
        assert tracer.reached_level() == "minimal"
    (file,) = directory.glob("*.bpf")  # written again
    assert (file.name, file.read_bytes()) == compiled
    assert (file.lstat().st_uid, file.lstat().st_mode) == (os.geteuid(), stat.S_IFREG | 0o600)


@pytest.mark.parametrize("fault", ["missing", "of another user", "writable by others"])
def test_without_a_cache_it_compiles_at_each_start(directory, tmp_path, kill, fault):
    if fault == "missing":
        directory.rmdir()
    elif fault == "of another user":
        os.chown(directory, NOBODY, NOBODY)
    else:
        directory.chmod(0o777)

    with RunningTracer(tmp_path, "--level", "minimal") as tracer:
        kill(tracer)
        assert len(warnings(tracer)) == (fault != "missing")
    assert not directory.exists() or not list(directory.iterdir())
