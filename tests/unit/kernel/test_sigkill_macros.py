# SPDX-License-Identifier: Apache-2.0
"""The macros that say which SIGKILLs are reported, and the size of their buffer."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest
from support.plan_features import features

from ooMtrace.kernel.plan import plan
from ooMtrace.kernel.sigkill_macros import (
    DEFAULT_SLOTS,
    MAX_BUFFER_BYTES,
    MIN_BUFFER_BYTES,
    NO_NAME,
    sigkill_buffers,
    sigkill_macros,
)
from ooMtrace.settings import MEMORY_KILLERS, Settings

HERE = replace(features("kprobes"), symbols={"cgroup_kill_write": (0x5000, 0x5090)}, possible_cpus=2)


def name(macros: dict[str, int], slot: int) -> bytes:
    halves = [macros[f"KILLER_{slot}_{half}"] for half in ("LOW", "HIGH")]
    return b"".join(half.to_bytes(8, sys.byteorder) for half in halves)


def test_the_default_names_come_first_and_the_operators_in_their_own_slots():
    macros = sigkill_macros(HERE, Settings(memory_killers=("mine", "a-name-longer-than-fifteen-bytes")))

    assert [name(macros, slot).rstrip(b"\0").decode() for slot in range(len(MEMORY_KILLERS))] == list(MEMORY_KILLERS)
    assert name(macros, DEFAULT_SLOTS) == b"mine".ljust(16, b"\0")
    assert name(macros, DEFAULT_SLOTS + 1) == b"a-name-longer-t\0"


def test_a_free_slot_is_the_name_of_no_process():
    macros = sigkill_macros(HERE, Settings())

    free = [slot for slot in range(24) if name(macros, slot) == b"\xff" * 16]
    assert free == [*range(len(MEMORY_KILLERS), 24)]
    assert NO_NAME == (1 << 64) - 1


@pytest.mark.parametrize(("mode", "by_all"), [(None, 0), ("memory-killers", 0), ("all", 1)])
def test_all_is_a_switch(mode, by_all):
    macros = sigkill_macros(HERE, Settings(sigkill=mode))

    assert (macros["WITH_SIGKILL"], macros["SIGKILL_ALL"]) == (1, by_all)
    assert macros["CGROUP_KILL_WRITE_SIZE"] == 0x90
    assert plan(HERE, Settings(sigkill=mode)).addresses["CGROUP_KILL_WRITE"] == 0x5000


@pytest.mark.parametrize("host", ["kprobes", "linux-6.18-no-kprobes-no-fentry", "no-btf"])
def test_none_compiles_and_opens_nothing(host):
    chosen = plan(features(host), Settings(sigkill="none"))

    assert "WITH_SIGKILL" not in chosen.macros
    assert "sigkills" not in chosen.auxiliary_buffers
    assert "emit_sigkill" not in chosen.tail_calls


@pytest.mark.parametrize("host", ["kprobes", "linux-6.18-no-kprobes-no-fentry", "no-btf"])
def test_at_every_level_with_probes_there_is_a_buffer_and_no_further_hook(host):
    chosen, without = plan(features(host)), plan(features(host), Settings(sigkill="none"))

    assert "sigkills" in chosen.auxiliary_buffers
    assert chosen.hooks == without.hooks


@pytest.mark.parametrize(("cpus", "size"), [(1, MAX_BUFFER_BYTES), (16, 256 << 10), (4096, MIN_BUFFER_BYTES)])
def test_the_buffers_of_all_cpus_are_bounded(cpus, size):
    assert sigkill_buffers(replace(HERE, possible_cpus=cpus), Settings()) == {"sigkills": size}
