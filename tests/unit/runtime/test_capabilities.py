# SPDX-License-Identifier: Apache-2.0
"""What is given up is gone, for root as for others, and the documentation says truly what is kept."""

from __future__ import annotations

import ctypes
import errno
import os
import re
import traceback
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest

from ooMtrace.runtime import capabilities
from ooMtrace.runtime.capabilities import Capability, drop_all_but, effective, has_bpf, needed

NOBODY = 65534
SECURITY = Path(__file__).parents[3] / "docs/security.md"
SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has something to give up")


def in_a_child(work: Callable[[], str]) -> str:
    """Do something that cannot be undone, and return what it says."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.write(write, work().encode())
        finally:
            traceback.print_exc()
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as file:
        said = file.read()
    os.waitpid(child, 0)
    return said


def sets() -> dict[str, int]:
    found = re.findall(r"^(\w+):\s+([0-9a-f]+)$", Path("/proc/thread-self/status").read_text(), re.MULTILINE)
    return {name: int(value, 16) for name, value in found if name in SETS}


def kept_by(kept: frozenset[Capability], before: Callable[[], object] = lambda: None) -> str:
    def work() -> str:
        before()
        warnings: list[str] = []
        drop_all_but(kept, warnings.append)
        return repr((sets(), warnings))

    return in_a_child(work)


def quietly(mask: int, bounds: int) -> str:
    return repr(({"CapInh": 0, "CapPrm": mask, "CapEff": mask, "CapBnd": bounds, "CapAmb": 0, "NoNewPrivs": 1}, []))


@as_root
def test_all_sets_hold_the_needed_capabilities_and_no_others():
    mask = 1 << Capability.BPF | 1 << Capability.SYS_PTRACE

    assert kept_by(frozenset({Capability.BPF, Capability.SYS_PTRACE})) == quietly(mask, mask)


@as_root
def test_a_capability_that_the_process_does_not_have_is_not_gained():
    def lose() -> None:
        drop_all_but(frozenset({Capability.BPF}), pytest.fail)

    mask = 1 << Capability.BPF
    assert kept_by(frozenset({Capability.BPF, Capability.SYS_ADMIN}), lose) == quietly(mask, mask)


def test_a_process_without_capabilities_drops_none_and_gets_no_warning():
    bounds = sets()["CapBnd"]

    def become_nobody() -> None:
        if os.geteuid() == 0:
            os.setresuid(NOBODY, NOBODY, NOBODY)

    assert kept_by(frozenset(Capability), become_nobody) == quietly(0, bounds)


@as_root
def test_a_thread_started_later_has_no_more_capabilities():
    def work() -> str:
        import threading

        drop_all_but(frozenset({Capability.BPF}), pytest.fail)
        seen: list[int] = []
        thread = threading.Thread(target=lambda: seen.append(sets()["CapEff"]))
        thread.start()
        thread.join()
        return repr((seen, effective()))

    assert in_a_child(work) == repr(([1 << Capability.BPF], frozenset({Capability.BPF})))


@pytest.mark.parametrize("number", [errno.EPERM, errno.EINVAL])
def test_a_refusal_is_one_warning_and_not_an_error(monkeypatch, number):
    class Refusing:
        capget = staticmethod(lambda *_: 0)
        prctl = staticmethod(lambda *_: -1)

        @staticmethod
        def capset(*_: object) -> int:
            ctypes.set_errno(number)
            return -1

    monkeypatch.setattr(capabilities, "_libc", Refusing)
    warnings: list[str] = []

    drop_all_but(frozenset(), warnings.append)

    assert warnings == [
        f"cannot drop capabilities (capset: {os.strerror(number)}); "
        "check whether a seccomp policy forbids prctl or capset"
    ]


def test_this_kernel_knows_its_own_capabilities():
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())

    assert has_bpf() == (last >= Capability.BPF)


def documented(options: set[str]) -> set[str]:
    """Return the capabilities that docs/security.md says are kept with these options."""
    rows = re.findall(r"^\| `CAP_(\w+)` \| [^|]+ \| ([^|]+) \|$", SECURITY.read_text(), re.MULTILINE)
    assert {name for name, _ in rows} == {one.name for one in Capability}
    return {name for name, when in rows if applies(when, options)}


def applies(when: str, options: set[str]) -> bool:
    named = set(re.findall(r"`(--[a-z-]+)`", when))
    if when == "always":
        return True
    assert named
    return not named & options if when.startswith("without ") else bool(named & options)


@pytest.mark.parametrize(("network", "output", "ready"), list(product([True, False], repeat=3)))
def test_the_documented_capabilities_are_the_retained_ones(network, output, ready):
    options = {
        name for name, given in (("--no-network", not network), ("--output", output), ("--ready-file", ready)) if given
    }

    kept = needed(network=network, files=output or ready, has_bpf=True)

    assert {one.name for one in kept} == documented(options)


def test_before_linux_5_8_one_capability_stands_for_two():
    assert needed(network=False, files=False, has_bpf=False) == {
        *(Capability.IPC_LOCK, Capability.SYSLOG, Capability.SYS_ADMIN)
    }


@as_root
def test_nothing_is_left_that_a_program_started_later_would_inherit():
    def inherit() -> None:
        given = capabilities._sets()
        for word, current in enumerate(given):
            given[word] = capabilities._Sets(current.effective, current.permitted, current.permitted)
        libc = ctypes.CDLL(None, use_errno=True)
        assert not libc.capset(ctypes.byref(capabilities._Header(capabilities.VERSION_3, 0)), given)
        raise_ambient = (capabilities.PR_CAP_AMBIENT, 2, int(Capability.BPF), 0, 0)
        assert not libc.prctl(*map(ctypes.c_ulong, raise_ambient))
        assert sets()["CapAmb"] == 1 << Capability.BPF

    mask = 1 << Capability.BPF
    assert kept_by(frozenset({Capability.BPF}), inherit) == quietly(mask, mask)


@pytest.mark.parametrize(("answer", "known"), [(-1, False), (0, True), (1, True)])
def test_a_capability_that_is_not_in_the_bounding_set_is_known_to_the_kernel(monkeypatch, answer, known):
    """prctl(2) answers EINVAL only for a capability that the kernel does not have."""

    class Answering:
        prctl = staticmethod(lambda *_: answer)

    monkeypatch.setattr(capabilities, "_libc", Answering)

    assert has_bpf() is known


@as_root
def test_a_capability_that_is_only_permitted_is_not_effective():
    def work() -> str:
        given = capabilities._sets()
        for word, current in enumerate(given):
            given[word] = capabilities._Sets(current.effective & ~(1 << Capability.IPC_LOCK), current.permitted, 0)
        libc = ctypes.CDLL(None, use_errno=True)
        assert not libc.capset(ctypes.byref(capabilities._Header(capabilities.VERSION_3, 0)), given)
        return repr(Capability.IPC_LOCK in effective())

    assert in_a_child(work) == "False"
