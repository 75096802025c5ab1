# SPDX-License-Identifier: Apache-2.0
"""BCC's library without the compiler: which one is loaded, its arguments, and its refusals."""

from __future__ import annotations

import ctypes
import errno
import os
from types import SimpleNamespace

import pytest

from ooMtrace.errors import CannotTraceError, ProbeError
from ooMtrace.probe import libbcc_bpf
from ooMtrace.probe.image import MapDefinition
from ooMtrace.probe.libbcc_bpf import SIGNATURES, Map, attach, compiler_identity, create_map, load_program

TABLE = MapDefinition("kill_counter", 2, 4, 16, 1, 0)


class FakeLibrary(SimpleNamespace):
    """Records the calls; `result` is what each returns."""

    def __init__(self) -> None:
        super().__init__(calls=[], result=7, **{name: self.function(name) for name in SIGNATURES})

    def function(self, name: str):
        def call(*arguments: object) -> int:
            self.calls.append((name, *arguments))
            ctypes.set_errno(errno.EPERM)
            return self.result

        return call


@pytest.fixture
def fake(monkeypatch):
    library = FakeLibrary()
    monkeypatch.setattr(libbcc_bpf, "library", lambda: library)
    return library


@pytest.fixture
def uncached():
    libbcc_bpf.library.cache_clear()
    yield
    libbcc_bpf.library.cache_clear()


@pytest.mark.parametrize(
    ("kind", "target", "call"),
    [
        (
            "kprobe",
            "oom_badness.part.0",
            ("bpf_attach_kprobe", 5, 0, b"p_oom_badness_part_0", b"oom_badness.part.0", 0, 0),
        ),
        ("kretprobe", "oom_badness", ("bpf_attach_kprobe", 5, 1, b"r_oom_badness", b"oom_badness", 0, 0)),
        ("raw_tracepoint", "mark_victim", ("bpf_attach_raw_tracepoint", 5, b"mark_victim")),
        ("tracepoint", "oom:mark_victim", ("bpf_attach_tracepoint", 5, b"oom", b"mark_victim")),
        ("fentry", "oom_kill_process", ("bpf_attach_kfunc", 5)),
        ("fexit", "oom_badness", ("bpf_attach_kfunc", 5)),
    ],
)
def test_each_kind_of_hook_is_attached(fake, kind, target, call):
    assert attach(kind, target, 5) == 7
    assert fake.calls == [call]


def test_an_unknown_kind_of_hook_is_a_mistake(fake):
    with pytest.raises(ValueError, match="kmsg"):
        attach("kmsg", "/dev/kmsg", 5)


def test_a_map_is_created_with_its_sizes(fake):
    assert create_map(TABLE) == 7
    assert fake.calls == [("bcc_create_map", 2, b"kill_counter", 4, 16, 1, 0)]


def test_what_the_kernel_refuses_is_an_error_with_the_reason(fake):
    fake.result = -1
    reason = os.strerror(errno.EPERM)

    with pytest.raises(ProbeError, match=f"^Failed to load BPF program walk_fds: {reason}$"):
        load_program(libbcc_bpf.RAW_TRACEPOINT, "walk_fds", bytes(8))
    with pytest.raises(ProbeError, match=f"^Failed to attach a BPF program to raw_tracepoint mark_victim: {reason}$"):
        attach("raw_tracepoint", "mark_victim", 5)
    with pytest.raises(ProbeError, match=f"^cannot create the map kill_counter: {reason}$"):
        create_map(TABLE)


def test_keys_and_values_of_a_wrong_size_never_reach_the_library(fake):
    table = Map(3, TABLE)
    for wrong in (lambda: table.lookup(bytes(3)), lambda: table.update(bytes(4), bytes(15)), lambda: table.delete(b"")):
        with pytest.raises(ValueError, match="kill_counter"):
            wrong()
    assert not fake.calls


def test_a_key_that_is_not_in_a_map_has_no_value(fake):
    fake.result = -1

    assert Map(3, TABLE).lookup(bytes(4)) is None


def test_without_the_library_nothing_can_be_traced(uncached, monkeypatch):
    monkeypatch.setattr(libbcc_bpf, "LIBRARIES", ("libnone.so.0", "libnone.so.1"))

    with pytest.raises(CannotTraceError, match=r"^BCC's library cannot be loaded \(libnone.so.0: "):
        libbcc_bpf.library()
    assert compiler_identity() == ""


def test_another_build_of_the_compiler_has_another_identity(fake, tmp_path):
    maps = tmp_path / "maps"
    maps.write_text(
        f"7f00-7f01 r--p 0 08:01 1 /lib/libc.so.6\n7f01-7f02 r--p 0 08:01 2   {tmp_path}/libbcc_bpf.so.0.26.0\n"
    )
    assert compiler_identity(maps) == ""
    (tmp_path / "libbcc.so.0").write_bytes(b"one")
    one = compiler_identity(maps)
    (tmp_path / "libbcc.so.0").write_bytes(b"other")

    assert "" != one != compiler_identity(maps)
    assert compiler_identity(tmp_path / "none") == ""
