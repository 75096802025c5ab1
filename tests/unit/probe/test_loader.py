# SPDX-License-Identifier: Apache-2.0
"""The loader: the order in which it loads and attaches, the cache, and failures that leave nothing behind."""

from __future__ import annotations

import os
import sys
from contextlib import closing, suppress
from mmap import PAGESIZE, mmap
from pathlib import Path

import pytest

from ooMtrace.errors import ProbeError
from ooMtrace.kernel.plan import Hook, Plan
from ooMtrace.probe import libbcc_bpf, loader, perf_buffer
from ooMtrace.probe.image import Image, MapDefinition, Program
from ooMtrace.probe.image_cache import open_cache
from ooMtrace.probe.loader import Probe

EXIT = bytes.fromhex("9500000000000000")
NAMES = ("on_oom_kill_process", "on_mark_victim", "walk_fds", "kfunc__out_of_memory", "kretfunc__vmlinux__oom_badness")
LOAD = bytes.fromhex("1801000000000000") + bytes(8)
IMAGE = Image(
    tuple(MapDefinition(name, 2, 4, 4, 4, 0) for name in ("tail_calls", "kill_counter", "events")),
    tuple(Program(name, LOAD + EXIT, addresses=((0, 0),)) for name in NAMES),
    ("OOM_KILL_PROCESS",),
)
ADDRESS = 0xFFFFFFFF812B4560
KPROBE = Hook("kprobe", "oom_kill_process", "on_oom_kill_process")
HOOKS = (KPROBE, Hook("raw_tracepoint", "mark_victim", "on_mark_victim"))


def plan(*hooks: Hook, tail_calls: tuple[str, ...] = ()) -> Plan:
    return Plan("reduced", "oomtrace.bpf.c", {}, hooks, (), tail_calls, {}, {"OOM_KILL_PROCESS": ADDRESS})


class FakeLibrary:
    """Records the calls; `fail` names those that are refused, as often as `times` says."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.fail, self.times = "", 99
        self.output, self.message = b"R1 invalid mem access\n", ""
        self.code: list[bytes] = []
        self.updates: list[tuple[int, int]] = []
        self.memory: mmap | None = None
        self.no_memory = "create"  # what the kernel refuses

    def do(self, *call: object) -> int:
        self.calls.append(call)
        if call[0] == self.fail and self.times:
            self.times -= 1
            os.write(2, self.output)
            raise ProbeError(self.message or f"{call[0]} failed")
        return os.dup(2)

    def create_map(self, definition: MapDefinition) -> int:
        if definition.flags & libbcc_bpf.MMAPABLE and self.no_memory == "create":
            raise ProbeError("cannot create the map")
        return self.do("map", definition.name)

    def map_memory(self, fd: int) -> mmap:
        os.fstat(fd)  # it is open
        if self.no_memory or not self.memory:
            raise OSError
        return self.memory

    def load(self, kind: int, name: str, code: bytes) -> int:
        self.code.append(code)
        return self.do("load", kind, name)

    def update(self, key: bytes, value: bytes) -> None:
        assert (len(key), len(value)) == (4, 4)
        os.close(self.do("update"))
        self.updates.append((key[0], int.from_bytes(value, sys.byteorder)))

    def compile(self, *_: object) -> Image:
        os.close(self.do("compile"))
        return IMAGE

    def names(self) -> list[object]:
        return [call[0] for call in self.calls]


@pytest.fixture
def library(monkeypatch):
    fake = FakeLibrary()
    monkeypatch.setattr(loader, "compile_image", fake.compile)
    monkeypatch.setattr(libbcc_bpf, "create_map", fake.create_map)
    monkeypatch.setattr(libbcc_bpf, "map_memory", fake.map_memory)
    monkeypatch.setattr(libbcc_bpf, "load_program", fake.load)
    monkeypatch.setattr(libbcc_bpf, "attach", lambda kind, target, _: fake.do("attach", kind, target))
    monkeypatch.setattr(libbcc_bpf.Map, "update", lambda _, key, value: fake.update(key, value))
    monkeypatch.setattr(perf_buffer.PerfBuffers, "open", lambda *_: os.close(fake.do("buffers")))
    return fake


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_the_buffers_are_open_before_the_first_hook_and_tail_calls_before_them(library):
    Probe(plan(*HOOKS, tail_calls=("walk_fds",)), "6.1.0").close()

    maps = ["map"] * 3
    assert library.names() == ["compile", *maps, "load", "update", "load", "load", "buffers", "attach", "attach"]


def test_tail_calls_are_numbered_in_the_order_of_the_plan(library):
    probe = Probe(plan(tail_calls=("walk_fds", "on_mark_victim")), "6.1.0")

    fds = probe.program_fds
    assert library.updates == [(0, fds["walk_fds"]), (1, fds["on_mark_victim"])]
    probe.close()


@pytest.mark.parametrize(
    ("kind", "target", "program"),
    [("fentry", "out_of_memory", NAMES[3]), ("fexit", "oom_badness", NAMES[4])],
)
def test_fentry_and_fexit_programs_have_bccs_names_of_any_version(library, kind, target, program):
    Probe(plan(Hook(kind, target)), "6.1.0").close()

    assert ("load", libbcc_bpf.TRACING, program) in library.calls


def test_a_failure_of_the_compiler_leaves_nothing_behind(library):
    library.fail, library.message = "compile", "Failed to compile"
    before = descriptors()

    with pytest.raises(ProbeError, match=r"^Failed to compile"):
        Probe(plan(*HOOKS), "6.1.0")
    assert descriptors() == before


@pytest.mark.parametrize("step", ["map", "load", "update", "buffers", "attach"])
def test_a_failure_is_a_probe_error_with_the_log_and_leaves_nothing_behind(library, capfd, step):
    library.fail = step
    before = descriptors()

    with pytest.raises(ProbeError) as caught:
        Probe(plan(*HOOKS, tail_calls=("walk_fds",)), "6.1.0")

    assert (caught.value.fact, caught.value.detail) == (f"level reduced: {step} failed", "R1 invalid mem access\n")
    assert capfd.readouterr() == ("", "")
    assert descriptors() == before


def test_a_cached_program_is_not_compiled_and_one_that_is_refused_is_compiled_once(library, tmp_path):
    tmp_path.chmod(0o700)
    cache = open_cache(lambda _: None, tmp_path)
    for _ in range(2):
        Probe(plan(*HOOKS), "6.1.0", cache).close()
    assert library.names().count("compile") == 1

    library.fail, library.times = "load", 1
    Probe(plan(*HOOKS), "6.1.0", cache).close()
    assert library.names().count("compile") == 2


def test_a_cached_program_that_the_kernel_refuses_costs_one_message(library, tmp_path):
    said: list[str] = []
    path = tmp_path / "cache"
    path.mkdir(0o700)
    for times in (0, 2, 1):  # refused with all its programs, and refused once
        library.fail, library.times = "load", times
        with suppress(ProbeError):
            Probe(plan(*HOOKS), "6.1.0", open_cache(said.append, path)).close()
    assert (
        said
        == [f"the cached BPF programs in {path} are not used (the kernel does not accept them); compiling them again"]
        * 2
    )


def test_of_cached_programs_that_are_refused_nothing_stays_attached(library, tmp_path):
    tmp_path.chmod(0o700)
    with closing(open_cache(lambda _: None, tmp_path)) as cache:
        Probe(plan(*HOOKS), "6.1.0", cache).close()
        before = descriptors()
        probe = Probe(plan(*HOOKS), "6.1.0", cache)
        held = descriptors() - before
        probe.close()
        library.fail, library.times = "attach", 1
        probe = Probe(plan(*HOOKS), "6.1.0", cache)

        assert descriptors() - before == held
        probe.close()


def test_the_addresses_of_this_boot_are_in_the_programs(library):
    Probe(plan(*HOOKS), "6.1.0").close()

    low, high = (ADDRESS & 0xFFFFFFFF).to_bytes(4, "little"), (ADDRESS >> 32).to_bytes(4, "little")
    assert set(library.code) == {LOAD[:4] + low + bytes(4) + high + EXIT}


@pytest.mark.parametrize("kind", ["kmsg", "uprobe"])
def test_an_unknown_kind_of_hook_is_rejected(library, kind):
    before = descriptors()
    with pytest.raises(ProbeError, match=f"^level reduced: cannot attach a program to {kind}:target;"):
        Probe(plan(Hook(kind, "target", "on_mark_victim")), "6.1.0")

    assert descriptors() == before


def test_a_program_that_was_not_compiled_is_named(library):
    with pytest.raises(ProbeError, match=r"^level reduced: the compiled BPF programs lack on_t;"):
        Probe(plan(Hook("raw_tracepoint", "t", "on_t")), "6.1.0")


def test_programs_are_loaded_without_a_buffer_or_a_hook(library):
    probe = Probe(plan(*HOOKS, tail_calls=("walk_fds",)), "6.1.0", attach=False)

    assert library.names() == ["compile", *["map"] * 3, "load", "update", "load", "load"]
    assert probe.program_fds.keys() == {"walk_fds", "on_oom_kill_process", "on_mark_victim"}
    probe.close()


E2BIG, EACCES = "Argument list too long", "Permission denied"
LOG = "0: R1=ctx() R10=fp0\n6: (7b) *(u64 *)(r0 +0) = r1\nR0 invalid mem access 'scalar'\n"


@pytest.mark.parametrize(
    ("reason", "log", "fact"),
    [
        (
            E2BIG,  # BCC 0.26
            f"bpf: {E2BIG}. Program  too large (688 insns), at most 4096 insns\n\n\n",
            "the kernel's verifier refused the program walk_fds: "
            "verifying it takes more steps than the kernel's limit (it has 688 instructions)",
        ),
        (
            E2BIG,
            "x\nBPF program is too large. Processed 1000001 insn\nprocessed 1000001 insns (limit 1000000)\n",
            "the kernel's verifier refused the program walk_fds after 1000001 steps: "
            "verifying it takes more steps than the kernel's limit",
        ),
        (
            E2BIG,
            "",
            "the kernel's verifier refused the program walk_fds: verifying it takes more steps than the kernel's limit",
        ),
        (
            EACCES,
            f"{LOG}processed 7 insns (limit 1000000)\n\nHINT: The 'R0 invalid' error can happen\n",
            "the kernel's verifier refused the program walk_fds after 7 steps: R0 invalid mem access 'scalar'",
        ),
        (EACCES, "bpf: Failed to load program\n", "the kernel refused the program walk_fds: Permission denied"),
    ],
)
def test_a_refusal_names_the_program_and_what_the_verifier_says(library, reason, log, fact):
    library.fail, library.output = "load", log.encode()
    library.message = f"Failed to load BPF program walk_fds: {reason}"

    with pytest.raises(ProbeError) as caught:
        Probe(plan(tail_calls=("walk_fds",)), "6.1.0")

    assert caught.value.fact == f"level reduced: {fact}"


def test_the_verdict_is_found_at_the_end_of_a_log_of_many_megabytes(library):
    end = LOG.encode() + b"processed 9 insns (limit 1000000)\n"
    library.fail, library.output = "load", b"1: R0=0\n" * 500_000 + end
    library.message = f"Failed to load BPF program walk_fds: {EACCES}"

    with pytest.raises(ProbeError, match="after 9 steps: R0 invalid mem access 'scalar'"):
        Probe(plan(tail_calls=("walk_fds",)), "6.1.0")


def test_losses_and_descriptors_come_from_the_buffers_and_losses_still_after_the_end(library, monkeypatch):
    probe = Probe(plan(), "6.1.0")
    monkeypatch.setattr(perf_buffer.PerfBuffers, "fds", lambda _: [7])
    monkeypatch.setattr(perf_buffer.PerfBuffers, "read", lambda _, name: [name.encode()])
    monkeypatch.setattr(perf_buffer.PerfBuffers, "lost_records", lambda _, name: len(name))

    assert (probe.fds(), probe.read(), probe.read("sigkills")) == ([7], [b"events"], [b"sigkills"])
    probe.close()
    assert (probe.lost_records(), probe.lost_records("sigkills")) == (6, 8)


def test_the_kill_count_is_read_from_memory_without_a_system_call(library, monkeypatch):
    library.memory, library.no_memory = mmap(-1, PAGESIZE), ""
    monkeypatch.delattr(libbcc_bpf.Map, "lookup")
    probe = Probe(plan(*HOOKS), "6.1.0")
    counts = [probe.kill_count()]
    for count in (3, 1 << 40):
        library.memory[:16] = count.to_bytes(8, sys.byteorder) + ADDRESS.to_bytes(8, sys.byteorder)
        counts.append(probe.kill_count())

    assert counts == [0, 3, 1 << 40]
    assert library.names().count("map") == 3
    probe.close()
    assert library.memory.closed


@pytest.mark.parametrize(("value", "count"), [(None, 0), ((300).to_bytes(8, sys.byteorder) + b"\xff" * 8, 300)])
@pytest.mark.parametrize("refused", ["create", "map"])
def test_where_an_array_is_no_memory_the_count_is_read_from_the_map(library, monkeypatch, refused, value, count):
    before = descriptors()
    library.no_memory = refused
    monkeypatch.setattr(
        libbcc_bpf.Map, "lookup", lambda map_, key: {("kill_counter", bytes(4)): value}[map_._definition.name, key]
    )
    probe = Probe(plan(), "4.18.0")

    assert probe.kill_count() == count
    probe.close()
    assert descriptors() == before


def test_closing_twice_closes_once(library):
    before = descriptors()
    probe = Probe(plan(KPROBE), "6.1.0")
    probe.close()
    probe.close()

    assert descriptors() == before
