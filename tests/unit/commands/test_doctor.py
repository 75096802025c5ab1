# SPDX-License-Identifier: Apache-2.0
"""What `oomtrace doctor` makes of a host: what is there, what is missing, and what to do about it."""

from __future__ import annotations

import json
import re
from argparse import Namespace
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from support.plan_features import (
    ALLOW,
    BOUNDED,
    GRANT,
    INLINED,
    LACKING,
    LOCKED,
    NO_BCC,
    NO_BTF,
    NO_PROBES,
    NO_TRACEFS,
    features,
    no_64_bit,
)

from ooMtrace.commands import doctor
from ooMtrace.errors import CannotTraceError, ProbeError
from ooMtrace.kernel.checks import checks, levels
from ooMtrace.kernel.features import Features
from ooMtrace.kernel.obstacles import Reason
from ooMtrace.kernel.plan import Plan, plan
from ooMtrace.kernel.surroundings import Surroundings
from ooMtrace.probe import image_cache
from ooMtrace.settings import LEVELS, Settings

README = Path(__file__).parents[3] / "README.md"
HOST = replace(
    features("kprobes"),
    oom_kill_counter=True,
    cgroups={"v1": "/sys/fs/cgroup/memory", "v2": "/sys/fs/cgroup/unified"},
    memory_cgroups="v1",
)
NAMES = (
    *("machine", "bcc", "capabilities", "lockdown", "btf", "probes", "kallsyms"),
    *("tracefs", "kernel_log", "kill_counter", "cgroups", "pid_namespace"),
)


def test_on_a_host_that_has_everything_every_check_is_ok():
    found = list(checks(HOST, "0.26.0"))

    assert tuple(one.name for one in found) == NAMES
    assert {(one.ok, one.hint) for one in found} == {(True, "")}
    assert [one.fact for one in found] == [
        "x86_64, 64-bit",
        "0.26.0",
        "CAP_SYS_ADMIN, CAP_BPF, CAP_PERFMON, CAP_SYSLOG, CAP_SYS_PTRACE",
        "none detected",
        "kernel type information is available",
        "kprobes, fentry",
        "symbol addresses are visible",
        "/sys/kernel/tracing is readable",
        "/dev/kmsg is readable",
        "/proc/vmstat counts OOM kills",
        "hybrid, memory controller at /sys/fs/cgroup/memory",
        "the host's",
    ]


@pytest.mark.parametrize(
    ("changes", "name", "fact", "hint"),
    [
        ({"machine": "armv7l"}, "machine", *no_64_bit("armv7l")),
        ({"bcc_error": NO_BCC[0]}, "bcc", *NO_BCC),
        (
            {"capabilities": 0},
            "capabilities",
            "none of those needed: loading BPF programs requires CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN",
            GRANT,
        ),
        (
            {"capabilities": 1 << 39 | 1 << 34},
            "capabilities",
            "CAP_BPF, CAP_SYSLOG; without CAP_SYS_ADMIN, CAP_PERFMON, CAP_SYS_PTRACE: "
            "loading BPF programs requires CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN",
            f"grant CAP_PERFMON: {BOUNDED}",
        ),
        ({"lockdown": "confidentiality"}, "lockdown", *LOCKED),
        ({"btf_error": "/sys/kernel/btf/vmlinux: No such file or directory"}, "btf", *NO_BTF),
        ({"offsets": features("a-required-member-missing").offsets}, "btf", *LACKING),
        ({"kprobes": False, "fentry_error": "Operation not permitted"}, "probes", *NO_PROBES),
        ({"symbols": {"out_of_memory": (1, 2)}}, "probes", *INLINED),
        (
            {"symbols": {"oom_kill_process": (0, 0)}},
            "kallsyms",
            "symbol addresses are hidden: below level full, oom.scope and oom.memcg will be missing",
            "sysctl kernel.kptr_restrict=1",
        ),
        ({"tracefs_error": "No such file or directory"}, "tracefs", *NO_TRACEFS),
        (
            {"kmsg_error": "Operation not permitted"},
            "kernel_log",
            "/dev/kmsg cannot be read (Operation not permitted)",
            ALLOW,
        ),
        (
            {"oom_kill_counter": False},
            "kill_counter",
            "/proc/vmstat has no oom_kill counter: missed kills cannot be detected",
            "boot Linux 4.13 or later",
        ),
        (
            {"memory_cgroups": ""},
            "cgroups",
            "no hierarchy with the memory controller is mounted",
            "mount -t cgroup2 cgroup2 /sys/fs/cgroup",
        ),
        (
            {"host_pids": False},
            "pid_namespace",
            "not the host's: /proc lists other pids than the kernel, so victims are not looked up there",
            "start it in the host's pid namespace (a container: --pid=host)",
        ),
    ],
)
def test_what_is_missing_is_reported_with_a_hint_and_nothing_else_is(changes, name, fact, hint):
    bad = [one for one in checks(replace(HOST, **changes), "0.26.0") if not one.ok]

    assert [(one.name, one.fact, one.hint) for one in bad] == [(name, fact, hint)]


@pytest.mark.parametrize(
    ("changes", "name", "fact"),
    [
        (
            {"capabilities": 1 << 38 | 1 << 39},
            "capabilities",
            "CAP_BPF, CAP_PERFMON; without CAP_SYS_ADMIN, CAP_SYSLOG, CAP_SYS_PTRACE",
        ),
        ({"lockdown": "integrity"}, "lockdown", "integrity"),
        ({"kprobes": False}, "probes", "fentry"),
        ({"fentry_error": "Invalid argument"}, "probes", "kprobes"),
        ({"cgroups": {"v1": "/a"}}, "cgroups", "v1, memory controller at /a"),
        ({"cgroups": {"v2": "/b"}, "memory_cgroups": "v2"}, "cgroups", "v2, memory controller at /b"),
    ],
)
def test_what_suffices_is_reported_as_it_is(changes, name, fact):
    found = {one.name: one for one in checks(replace(HOST, **changes), "0.26.0")}

    assert all(one.ok for one in found.values())
    assert found[name].fact == fact


def test_everything_that_is_missing_is_reported():
    bare = Features(
        "1.0", "i686", 0, "confidentiality", btf_error="x", fentry_error="y", kmsg_error="z", host_pids=False
    )
    bare = replace(bare, bcc_error="w", tracefs_error="v")

    assert [one.name for one in checks(bare, "") if one.ok] == []
    assert [(one.name, one.ok) for one in levels(bare)] == [(level, False) for level in reversed(LEVELS)]


def test_each_level_states_what_it_gives_or_what_is_missing():
    found = list(levels(features("no-btf")))

    assert [(one.name, one.ok, one.hint) for one in found] == [
        ("full", False, NO_BTF[1]),
        ("reduced", False, NO_BTF[1]),
        ("minimal", True, ""),
        ("log", True, ""),
    ]
    assert found[0].fact == NO_BTF[0]
    assert found[2].fact == "what the tracepoint reports (pid, name, memory sizes), and what /proc still has"


class FakeCache:
    """Has the programs of level `reduced`."""

    path = Path("/var/cache/oomtrace")

    def read(self, plan: Plan, _release: str) -> bool:
        return plan.level == "reduced"

    def close(self) -> None:
        pass


Doctor = Callable[..., tuple[str, int]]


@pytest.fixture
def run_on(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Doctor:
    """Run the command on a described host; return what it writes to stdout, and its exit code."""

    def run(host: Features, *, json: bool = False, **settings: Any) -> tuple[str, int]:
        monkeypatch.setattr(doctor, "observe", lambda: host)
        monkeypatch.setattr(
            doctor, "bcc_problem", lambda: Reason(host.bcc_error, host.bcc_hint) if host.bcc_error else None
        )
        monkeypatch.setattr(doctor, "bcc_version", lambda: "0.26.0")
        monkeypatch.setattr(doctor, "open_cache", lambda *_, **__: FakeCache())
        code = doctor.run(Namespace(**{"json": json, "quick": True, **settings}), print)
        return capfd.readouterr().out, code

    return run


def test_the_json_report_is_one_object_of_a_stable_shape(run_on):
    report, code = run_on(replace(HOST, fentry_error="no"), json=True)

    parsed = json.loads(report)
    assert code == 0
    assert list(parsed) == ["verdict", "kernel", "checks", "levels", "plan", "features"]
    assert parsed["kernel"] == "6.12.0"
    assert [list(one) for one in parsed["checks"]] == [["name", "ok", "fact", "hint"]] * len(NAMES)
    assert [list(one) for one in parsed["levels"]] == [["level", "ok", "fact", "hint"]] * len(LEVELS)
    assert [one["level"] for one in parsed["levels"]] == ["full", "reduced", "minimal", "log"]
    assert (parsed["plan"]["level"], parsed["plan"]["hooks"][0]) == ("full", "kprobe:oom_kill_process")
    assert (parsed["features"]["fentry_error"], parsed["features"]["offsets"]["macros"]["OFF_TASK_PID"]) == ("no", 1264)


@pytest.mark.parametrize("json_", [True, False])
@pytest.mark.parametrize(
    ("host", "options", "code"),
    [
        (HOST, {"require": "full"}, 0),
        (replace(HOST, capabilities=0), {}, 0),
        (replace(HOST, capabilities=0), {"require": "minimal"}, 77),
        (HOST, {"level": "minimal", "require": "reduced"}, 77),
        (replace(HOST, capabilities=0, kmsg_error="Permission denied"), {}, 77),
    ],
)
def test_the_exit_code_says_whether_this_host_can_trace(run_on, host, options, code, json_):
    report, found = run_on(host, json=json_, **options)

    assert found == code
    if json_:
        assert (json.loads(report)["plan"] is None) is bool(code)
    else:
        assert ("\nplan: " in report) is not bool(code)


@pytest.mark.parametrize(
    ("level", "end"),
    [
        ("full", "programs: not compiled yet: the first start does it, or `oomtrace prepare`"),
        ("reduced", "programs: compiled already, in /var/cache/oomtrace"),
        ("log", "plan: log, by kmsg:/dev/kmsg"),
    ],
)
def test_the_report_ends_with_the_state_of_the_compiled_programs(run_on, level, end):
    report, _ = run_on(HOST, level=level)

    assert report.splitlines()[-1] == end


def test_the_directory_of_compiled_programs_is_not_created(monkeypatch, tmp_path, capfd):
    monkeypatch.setattr(doctor, "observe", lambda: HOST)
    monkeypatch.setattr(doctor, "bcc_problem", lambda: None)
    monkeypatch.setattr(doctor, "bcc_version", lambda: "0.26.0")
    monkeypatch.setattr(image_cache, "DEFAULT", tmp_path / "cache")
    monkeypatch.delenv("CACHE_DIRECTORY", raising=False)

    doctor.run(Namespace(json=False, quick=True), print)

    last = f"programs: not compiled yet for this user: {tmp_path / 'cache'} does not exist or is not usable"
    assert "".join(capfd.readouterr().out.split()).endswith("".join(last.split()))
    assert not (tmp_path / "cache").exists()


def test_without_a_plan_the_report_ends_with_the_reason(run_on):
    host = replace(HOST, capabilities=0)

    report, _ = run_on(host, require="minimal")

    with pytest.raises(CannotTraceError) as caught:
        plan(host, Settings(require="minimal"))
    assert " ".join(report.partition("\n\n")[2].split()).endswith(str(caught.value))


def test_the_report_is_wrapped_without_losing_a_word():
    bare = Features("1.0", "x86_64", 0, btf_error="b" * 40 + " x" * 60, kmsg_error="Permission denied", host_pids=False)
    lines = doctor.text("works", bare, "0.26.0", "no level").decode().split("\n")

    assert max(map(len, lines)) <= 110
    assert " ".join(" ".join(lines).split()).count("x x x") > 0
    for one in checks(bare, "0.26.0"):
        assert f"{one.fact} {'-> ' if one.hint else ''}{one.hint}".strip() in " ".join(" ".join(lines).split())


def test_an_ordinary_user_sees_the_one_cause_and_what_needs_no_rights(run_on):
    host = replace(HOST, capabilities=0, surroundings=Surroundings(1000), tracefs_error="Permission denied")
    host = replace(host, kmsg_error="Operation not permitted", dmesg_restrict=True)

    report, code = run_on(host)

    assert code == 77
    assert report.startswith("works: nothing: not root; ")
    assert " NO " not in report
    assert "->" not in report


def test_a_hint_is_printed_once(run_on):
    report, _ = run_on(replace(HOST, btf_error="x", offsets=None))

    verdict, _, rows = report.partition("\n")
    assert verdict.endswith(" -> boot a kernel built with CONFIG_DEBUG_INFO_BTF=y")
    assert rows.count("-> boot a kernel built with CONFIG_DEBUG_INFO_BTF=y") == 1


def test_the_example_in_the_readme_is_the_report_of_such_a_host(run_on):
    found = re.search(r"```console\n\$ oomtrace doctor\n(.*?)```", README.read_text(), re.DOTALL)
    assert found
    host = replace(HOST, kprobes=False, fentry_error="Operation not permitted")

    report, _ = run_on(replace(host, cgroup_mkdir=("cgroup *", "char *"), memory_hierarchy=4))

    (verdict, _, *rows), (expected, _, *shown) = report.split("\n"), found[1].split("\n")
    assert (verdict, rows) == (expected, shown)


def test_whether_bcc_can_be_used_is_found_by_loading_it(monkeypatch, capfd):
    monkeypatch.setattr(doctor, "observe", lambda: HOST)
    monkeypatch.setattr(doctor, "bcc_problem", lambda: Reason(*NO_BCC))
    monkeypatch.setattr(doctor, "bcc_version", lambda: pytest.fail("there is none"))

    assert doctor.run(Namespace(json=False, quick=False, require="minimal"), print) == 77
    assert "BCC's Python module is not installed" in capfd.readouterr().out


class RefusingProbe:
    """Refuses the programs of some levels, and notes what it was asked to load."""

    refused: ClassVar[tuple[str, ...]] = ()
    asked: ClassVar[list[tuple[str, bool]]] = []

    def __init__(self, plan: Plan, release: str, _cache: object, *, attach: bool) -> None:
        self.asked.append((plan.level, attach))
        if plan.level in self.refused:
            raise ProbeError(f"level {plan.level}: refused by the verifier", "see the log")

    def close(self) -> None:
        pass


@pytest.fixture
def refuse(monkeypatch: pytest.MonkeyPatch) -> type[RefusingProbe]:
    monkeypatch.setattr(doctor, "Probe", RefusingProbe)
    monkeypatch.setattr(RefusingProbe, "refused", ())
    monkeypatch.setattr(RefusingProbe, "asked", [])
    return RefusingProbe


def test_a_level_whose_programs_are_refused_is_out_of_reach_and_the_plan_is_the_next_lower_one(run_on, refuse):
    refuse.refused = ("full", "reduced")

    report, code = run_on(HOST, json=True, quick=False)

    parsed = json.loads(report)
    assert code == 0
    assert [(one["level"], one["ok"]) for one in parsed["levels"]] == [
        *(("full", False), ("reduced", False), ("minimal", True), ("log", True)),
    ]
    assert (parsed["levels"][0]["fact"], parsed["levels"][0]["hint"]) == ("refused by the verifier", "see the log")
    assert parsed["plan"]["level"] == "minimal"
    assert parsed["features"]["refused"]["full"] == ["refused by the verifier", "see the log"]


def test_a_required_level_that_is_refused_ends_with_77(run_on, refuse):
    refuse.refused = ("full",)

    report, code = run_on(HOST, quick=False, require="full")

    assert code == 77
    assert report.endswith("\nlevel full cannot be reached: refused by the verifier; see the log\n")


@pytest.mark.parametrize(
    ("host", "quick", "levels"),
    [
        (HOST, False, ["minimal", "reduced", "full"]),
        (HOST, True, []),
        (features("no-btf"), False, ["minimal"]),
        (replace(HOST, capabilities=0), False, []),
        (replace(HOST, machine="i686"), False, []),
    ],
)
def test_the_programs_of_the_levels_without_an_obstacle_are_loaded_and_not_attached(
    run_on, refuse, host, quick, levels
):
    run_on(host, quick=quick)

    assert refuse.asked == [(level, False) for level in levels]
