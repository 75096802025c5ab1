# SPDX-License-Identifier: Apache-2.0
"""The one line that doctor begins with."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support.plan_features import BOUNDED, NO_BCC, features

from ooMtrace.errors import CannotTraceError
from ooMtrace.kernel.checks import checks
from ooMtrace.kernel.features import Features
from ooMtrace.kernel.plan import plan
from ooMtrace.kernel.surroundings import Surroundings
from ooMtrace.kernel.verdict import shown, verdict
from ooMtrace.settings import Settings

HOST = replace(features("kprobes"), oom_kill_counter=True, memory_cgroups="v2")
BPF, PERFMON, SYSLOG = 1 << 39, 1 << 38, 1 << 34
NO_SYSLOG: dict[str, Any] = {"kmsg_error": "Operation not permitted", "dmesg_restrict": True}
HIDDEN: dict[str, Any] = {"symbols": dict.fromkeys(HOST.symbols, (0, 0))}
DOCKER, KUBERNETES = (Surroundings(container=name) for name in ("docker", "kubernetes"))
ADD = "start the container with --cap-add=BPF --cap-add=PERFMON"
LOG_ONLY = "works: level log, the kills in the kernel log; missed: all that the kernel log does not state"


def line(host: Features, settings: Settings | None = None) -> str:
    try:
        return verdict(host, plan(host, settings or Settings()).level)
    except CannotTraceError as error:
        return verdict(host, None, str(error))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "works: level full, every kill, with the kernel's decision; nothing is missed"),
        ({"bcc_error": NO_BCC[0], "bcc_hint": "do this"}, f"{LOG_ONLY} -> do this"),
        (
            {"capabilities": SYSLOG, "surroundings": DOCKER},
            f"{LOG_ONLY} -> {ADD}",
        ),
        (
            {"capabilities": BPF | PERFMON, "surroundings": DOCKER, **NO_SYSLOG},
            "works: level full, every kill, with the kernel's decision; missed: addresses of containers, "
            "kills from before the start -> start the container with --cap-add=SYSLOG",
        ),
        (
            {"capabilities": 0, **NO_SYSLOG, **HIDDEN},
            "works: nothing: loading BPF programs requires CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN -> "
            f"grant CAP_BPF, CAP_PERFMON and CAP_SYSLOG: {BOUNDED}",
        ),
        (
            {"bpf_error": "Operation not permitted", "surroundings": Surroundings(container="docker", seccomp=True)},
            f"{LOG_ONLY} -> start the container with --security-opt seccomp=unconfined",
        ),
        (
            {"perf_error": "Permission denied", "surroundings": Surroundings(perf_event_paranoid=3)},
            f"{LOG_ONLY} -> on the host: sysctl kernel.perf_event_paranoid=2; otherwise it takes CAP_SYS_ADMIN",
        ),
        (
            {"perf_error": "Operation not permitted", "surroundings": Surroundings(container="podman", seccomp=True)},
            f"{LOG_ONLY} -> start the container with --security-opt seccomp=unconfined",
        ),
        (
            {"host_pids": False, "surroundings": Surroundings(container="kubernetes")},
            "works: level full, every kill, with the kernel's decision; missed: what /proc has of victims -> "
            "share the host's: set hostPID: true in the pod's spec",
        ),
        (
            {"capabilities": 0, "surroundings": Surroundings(1000), **NO_SYSLOG},
            "works: nothing: not root; as root, `sudo oomtrace doctor` shows what this host offers",
        ),
        (
            {"capabilities": 0, "surroundings": Surroundings(1000)},
            "works: only level log, the kills in the kernel log: not root; "
            "as root, `sudo oomtrace doctor` shows what this host offers",
        ),
        (
            {"kprobes": False, "fentry_error": "x", **HIDDEN},
            "works: level reduced, every kill, with what the victim was doing; "
            "missed: the kernel's decision and ranking, oom.scope and oom.memcg",
        ),
        (
            {"btf_error": "x"},
            "works: level minimal, every kill, with the victim's name and memory; missed: the victim's files and "
            "connections, and the kernel's decision -> boot a kernel built with CONFIG_DEBUG_INFO_BTF=y",
        ),
        (HIDDEN, "works: level full, every kill, with the kernel's decision; nothing is missed"),
        (
            {"kprobes": False, "fentry_error": "x"},
            "works: level reduced, every kill, with what the victim was doing; "
            "missed: the kernel's decision and ranking -> boot a kernel built with CONFIG_KPROBES=y",
        ),
        (
            {"capabilities": 1 << 21, **HIDDEN},
            "works: level full, every kill, with the kernel's decision; missed: addresses of containers",
        ),
        ({"bcc_error": NO_BCC[0], "bcc_hint": "do this", **HIDDEN}, f"{LOG_ONLY} -> do this"),
        (
            {"kmsg_error": "No such file or directory", "host_pids": False, "surroundings": KUBERNETES},
            "works: level full, every kill, with the kernel's decision; missed: kills from before the start, "
            "what /proc has of victims -> share the host's: set hostPID: true in the pod's spec",
        ),
        (
            {"tracefs_error": "No such file or directory", "host_pids": False},
            "works: level full, every kill, with the kernel's decision; missed: what /proc has of victims -> "
            "start it in the host's pid namespace (a container: --pid=host)",
        ),
    ],
)
def test_one_line_states_what_works_what_is_missed_and_the_one_remedy(changes, expected):
    assert line(replace(HOST, **changes)) == expected


def test_with_two_remedies_the_rows_below_have_them():
    host = replace(HOST, tracefs_error="No such file or directory", btf_error="x", kmsg_error="y")

    assert line(host).startswith("works: nothing: no level can be reached: ")
    assert "->" not in line(replace(HOST, host_pids=False, kmsg_error="No such file or directory"))


def test_a_level_that_is_required_and_out_of_reach_is_no_lack_of_everything():
    host = replace(HOST, btf_error="x")

    assert line(host, Settings(require="full")).startswith("works: not as required: level full cannot be reached: ")


def test_root_sees_each_row_and_an_ordinary_user_none_that_only_states_the_lack_of_rights():
    root = replace(HOST, capabilities=BPF | PERFMON, **NO_SYSLOG, **HIDDEN)
    user = replace(root, capabilities=0, surroundings=Surroundings(1000))

    assert [*shown(checks(root, "0.26.0"), root)] == [*checks(root, "0.26.0")]
    hidden = {row.name for row in checks(user, "0.26.0")} - {row.name for row in shown(checks(user, "0.26.0"), user)}
    assert hidden == {"capabilities", "kallsyms", "kernel_log"}
