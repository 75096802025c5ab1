# SPDX-License-Identifier: Apache-2.0
"""The loader: what it compiles, the order in which it loads and attaches, and failures that leave nothing behind."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from ooMtrace.errors import ProbeError
from ooMtrace.kernel.plan import Hook, Plan
from ooMtrace.probe import loader
from ooMtrace.probe.loader import Probe
from ooMtrace.probe.stub_headers import bpf_dir


@pytest.fixture(autouse=True)
def no_compiler(monkeypatch):
    monkeypatch.setattr(loader, "release_compiler_memory", lambda: None)


def plan(*hooks: Hook, macros: dict[str, int] | None = None, tail_calls: tuple[str, ...] = ()) -> Plan:
    return Plan("reduced", "oomtrace.bpf.c", macros or {}, hooks, (), tail_calls)


KPROBE = Hook("kprobe", "oom_kill_process", "on_oom_kill_process")


@pytest.mark.parametrize(
    ("hook", "call"),
    [
        (KPROBE, ("attach_kprobe", ("event", b"oom_kill_process"), ("fn_name", b"on_oom_kill_process"))),
        (Hook("kretprobe", "f", "on_f"), ("attach_kretprobe", ("event", b"f"), ("fn_name", b"on_f"))),
        (Hook("raw_tracepoint", "t", "on_t"), ("attach_raw_tracepoint", ("tp", b"t"), ("fn_name", b"on_t"))),
        (Hook("tracepoint", "oom:t", "on_t"), ("attach_tracepoint", ("tp", b"oom:t"), ("fn_name", b"on_t"))),
    ],
)
def test_each_kind_of_hook_is_attached(fake_bcc, hook, call):
    Probe(plan(hook), "6.1.0").close()

    assert [made for made in fake_bcc.calls if str(made[0]).startswith("attach_")] == [call]


@pytest.mark.parametrize("kind", ["fentry", "fexit"])
def test_fentry_and_fexit_are_left_to_bcc(fake_bcc, kind):
    Probe(plan(Hook(kind, "out_of_memory")), "6.1.0").close()

    assert not [name for name in fake_bcc.names() if str(name).startswith("attach_")]


@pytest.mark.parametrize("kind", ["kmsg", "uprobe"])
def test_an_unknown_kind_of_hook_is_rejected(fake_bcc, kind):
    with pytest.raises(ProbeError, match=f"^level reduced: cannot attach a program to {kind}:target;"):
        Probe(plan(Hook(kind, "target")), "6.1.0")

    assert fake_bcc.names()[-1] == "cleanup"


def test_the_buffers_are_open_before_the_first_hook_and_tail_calls_before_them(fake_bcc):
    hooks = (KPROBE, Hook("raw_tracepoint", "mark_victim", "on_mark_victim"))
    Probe(plan(*hooks, tail_calls=("walk_fds", "emit_context")), "6.1.0").close()

    assert fake_bcc.names() == [
        *("compile", "load", "set", "load", "set", "open_perf_buffer", "open_cpu", "open_cpu"),
        *("attach_kprobe", "attach_raw_tracepoint", "free_buffers", "cleanup"),
    ]


def test_tail_calls_are_numbered_in_the_order_of_the_plan(fake_bcc):
    Probe(plan(tail_calls=("walk_fds", "emit_context")), "6.1.0").close()

    assert [call for call in fake_bcc.calls if call[0] in ("load", "set")] == [
        ("load", b"walk_fds", 17),
        ("set", "tail_calls", 0, 58),
        ("load", b"emit_context", 17),
        ("set", "tail_calls", 1, 62),
    ]


def test_the_program_is_compiled_with_the_macros_and_the_stub_headers(fake_bcc, monkeypatch):
    monkeypatch.setenv("ARCH", "arm64")
    macros = {"OFF_TASK_MM": 8, "OFF_X": -1, "PER_CPU_OFFSET": 1 << 63, "SMALL": (1 << 63) - 1}
    Probe(plan(macros=macros), "6.1.0").close()

    assert fake_bcc.calls[0] == ("compile", (bpf_dir() / "oomtrace.bpf.c").read_bytes())
    assert fake_bcc.cflags == [
        *(f"-I{bpf_dir()}", "-w", "-DOFF_TASK_MM=8", "-DOFF_X=-1"),
        *("-DPER_CPU_OFFSET=9223372036854775808ULL", "-DSMALL=9223372036854775807"),
    ]
    assert fake_bcc.environment["ARCH"] is None
    assert not Path(fake_bcc.environment["BCC_KERNEL_SOURCE"]).exists()
    assert os.environ["ARCH"] == "arm64"


@pytest.mark.parametrize("step", ["compile", "load", "set", "open_perf_buffer", "open_cpu", "attach_kprobe"])
def test_a_failure_is_a_probe_error_with_the_log_and_leaves_nothing_behind(fake_bcc, capfd, step):
    fake_bcc.fail, fake_bcc.output = step, b"R1 invalid mem access\n"
    before = len(list(Path("/proc/self/fd").iterdir()))

    with pytest.raises(ProbeError) as caught:
        Probe(plan(KPROBE, tail_calls=("walk_fds",)), "6.1.0")

    assert caught.value.fact == f"level reduced: {step} failed"
    assert (
        caught.value.hint
        == "see `oomtrace --verbose` for the compiler's and the verifier's log, or request less with --level"
    )
    assert caught.value.detail == "R1 invalid mem access\n"
    assert capfd.readouterr() == ("", "")
    assert (fake_bcc.names()[-1] == "cleanup") == (step != "compile")
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_closing_twice_detaches_once(fake_bcc):
    probe = Probe(plan(KPROBE), "6.1.0")
    probe.close()
    probe.close()

    assert fake_bcc.names().count("cleanup") == 1


def test_the_perf_buffers_are_freed_before_the_programs(fake_bcc):
    """BCC frees them with the map's last reference, and prints an error if its module is gone by then."""
    probe = Probe(plan(), "6.1.0")
    probe.read()
    probe.close()

    assert fake_bcc.names()[-2:] == ["free_buffers", "cleanup"]


def test_the_kill_count_is_read_from_the_bpf_map(fake_bcc):
    probe = Probe(plan(), "6.1.0")
    fake_bcc.kills = 3

    assert probe.kill_count() == 3
    probe.close()


def test_records_descriptors_and_losses_come_from_the_perf_buffer(fake_bcc):
    probe = Probe(plan(), "6.1.0")
    fake_bcc.pending = [(0, b"record")]
    fake_bcc.lose(100, 2)

    assert probe.read() == [b"record"]
    assert probe.fds()[:2] == [1100, 1101]
    assert probe.lost_records() == 2
    probe.close()
    assert probe.lost_records() == 2


def test_auxiliary_buffers_are_opened_before_the_first_hook_and_read_apart(fake_bcc):
    probe = Probe(replace(plan(KPROBE), auxiliary_buffers={"cgroups": 65536}), "6.1.0")
    fake_bcc.send(100, b"kill")
    fake_bcc.send(200, b"cgroup")
    fake_bcc.lose(200, 2)

    opened = ["open_perf_buffer", "open_cpu", "open_cpu"]
    assert fake_bcc.names() == ["compile", *opened, *opened, "attach_kprobe"]
    assert [probe.read(), probe.read("cgroups")] == [[b"kill"], [b"cgroup"]]
    assert [probe.lost_records(), probe.lost_records("cgroups")] == [0, 2]
    probe.close()


def test_compiler_memory_is_released_once_the_programs_are_attached(fake_bcc, monkeypatch):
    monkeypatch.setattr(loader, "release_compiler_memory", lambda: fake_bcc.do("release"))

    Probe(plan(KPROBE), "6.1.0").close()

    assert fake_bcc.names()[-3:] == ["release", "free_buffers", "cleanup"]


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
@pytest.mark.parametrize("name", ["b'walk_fds'", "walk_fds"])
def test_a_refusal_names_the_program_and_what_the_verifier_says(fake_bcc, name, reason, log, fact):
    fake_bcc.fail, fake_bcc.output = "load", log.encode()
    fake_bcc.message = f"Failed to load BPF program {name}: {reason}"

    with pytest.raises(ProbeError) as caught:
        Probe(plan(tail_calls=("walk_fds",)), "6.1.0")

    assert caught.value.fact == f"level reduced: {fact}"


def test_the_verdict_is_found_at_the_end_of_a_log_of_many_megabytes(fake_bcc):
    fake_bcc.fail, fake_bcc.output = (
        "load",
        b"1: R0=0\n" * 500_000 + LOG.encode() + b"processed 9 insns (limit 1000000)\n",
    )
    fake_bcc.message = f"Failed to load BPF program b'walk_fds': {EACCES}"

    with pytest.raises(ProbeError, match="after 9 steps: R0 invalid mem access 'scalar'"):
        Probe(plan(tail_calls=("walk_fds",)), "6.1.0")


def test_programs_are_loaded_without_a_buffer_or_a_hook(fake_bcc):
    hooks = (KPROBE, *(Hook(kind, "t", "on_t") for kind in ("kretprobe", "raw_tracepoint", "tracepoint")))
    Probe(plan(*hooks, tail_calls=("walk_fds",)), "6.1.0", attach=False).close()

    assert fake_bcc.calls[1:] == [
        ("load", b"walk_fds", 17),
        ("set", "tail_calls", 0, 58),
        ("load", b"on_oom_kill_process", 2),
        ("load", b"on_t", 2),
        ("load", b"on_t", 17),
        ("load", b"on_t", 5),
        ("cleanup",),
    ]
