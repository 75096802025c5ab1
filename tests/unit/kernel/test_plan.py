# SPDX-License-Identifier: Apache-2.0
"""What is attached on which kernel, what blocks higher levels, and when that is an error."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.plan_features import (
    ALLOW,
    BOUNDED,
    CREATE,
    GRANT,
    GRANT_READ,
    GRANT_SYSLOG,
    INLINED,
    LACKING,
    LOCKED,
    NO_BCC,
    NO_BTF,
    NO_CAPABILITY,
    NO_PROBES,
    NO_TRACEFS,
    NO_TRACEPOINT,
    features,
)

from ooMtrace.errors import CannotTraceError
from ooMtrace.kernel.obstacles import Obstacle, obstacles
from ooMtrace.kernel.plan import SIGKILL_TAIL_CALLS, TAIL_CALLS, Hook, Plan, plan
from ooMtrace.settings import Level, Settings

NO_PERFMON = (NO_CAPABILITY[0], f"grant CAP_PERFMON: {BOUNDED}")


def names(plan: Plan) -> tuple[str, ...]:
    return tuple(map(str, plan.hooks))


RAW = tuple(
    f"raw_tracepoint:{name}" for name in ("signal_generate", "mark_victim", "signal_deliver", "sched_process_exec")
)
KMSG = ("kmsg:/dev/kmsg",)
CLASSIC = ("tracepoint:signal:signal_generate", "tracepoint:oom:mark_victim")


@pytest.mark.parametrize(
    ("name", "level", "hooks"),
    [
        ("kprobes", "full", ("kprobe:oom_kill_process", *RAW)),
        ("fentry-only", "full", ("fentry:oom_kill_process", "fentry:out_of_memory", "fexit:oom_badness", *RAW)),
        ("mark-victim-gives-a-number", "full", ("kprobe:oom_kill_process", *RAW)),
        ("lockdown-integrity", "full", ("kprobe:oom_kill_process", *RAW)),
        ("cap-bpf-and-cap-perfmon", "full", ("kprobe:oom_kill_process", *RAW)),
        ("no-tracefs", "full", ("kprobe:oom_kill_process", *RAW)),
        ("4096-cpus", "full", ("kprobe:oom_kill_process", *RAW)),
        ("linux-6.18-no-kprobes-no-fentry", "reduced", RAW),
        ("no-tracefs-no-kprobes-no-fentry", "reduced", RAW),
        ("oom-kill-process-inlined", "reduced", RAW),
        ("no-btf", "minimal", CLASSIC),
        ("no-btf-and-a-short-record", "minimal", CLASSIC),
        ("a-required-member-missing", "minimal", CLASSIC),
        ("no-tracepoint-mark-victim", "minimal", CLASSIC),
        ("no-capabilities", "log", KMSG),
        ("cap-bpf-without-cap-perfmon", "log", KMSG),
        ("lockdown-confidentiality", "log", KMSG),
        ("no-tracefs-no-btf", "log", KMSG),
    ],
)
def test_each_kernel_gets_the_highest_level_that_it_offers(name, level, hooks):
    chosen = plan(features(name))

    assert chosen.level == level
    assert names(chosen) == hooks
    assert chosen.program == {"log": "", "minimal": "minimal.bpf.c"}.get(level, "oomtrace.bpf.c")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("kprobes", {}),
        ("fentry-only", {}),
        ("linux-6.18-no-kprobes-no-fentry", {"full": NO_PROBES}),
        ("oom-kill-process-inlined", {"full": INLINED}),
        ("no-btf", {"reduced": NO_BTF, "full": NO_BTF}),
        ("a-required-member-missing", {"reduced": LACKING, "full": LACKING}),
        ("no-tracepoint-mark-victim", {"reduced": NO_TRACEPOINT, "full": NO_TRACEPOINT}),
        ("no-tracefs", {"minimal": NO_TRACEFS}),
        ("no-tracefs-no-kprobes-no-fentry", {"minimal": NO_TRACEFS, "full": NO_PROBES}),
        ("no-tracefs-no-btf", {"minimal": NO_TRACEFS, "reduced": NO_BTF, "full": NO_BTF}),
        ("lockdown-confidentiality", dict.fromkeys(("minimal", "reduced", "full"), LOCKED)),
        ("no-capabilities", dict.fromkeys(("minimal", "reduced", "full"), NO_CAPABILITY)),
        ("cap-bpf-without-cap-perfmon", dict.fromkeys(("minimal", "reduced", "full"), NO_PERFMON)),
    ],
)
def test_each_blocked_level_has_a_fact_and_a_hint(name, expected):
    assert obstacles(features(name)) == tuple(Obstacle(level, *why) for level, why in expected.items())


@pytest.mark.parametrize(
    ("name", "above"),
    [
        ("kprobes", ()),
        ("no-tracefs", ()),
        ("no-tracefs-no-kprobes-no-fentry", (Obstacle("full", *NO_PROBES),)),
        ("no-btf", (Obstacle("reduced", *NO_BTF), Obstacle("full", *NO_BTF))),
        ("lockdown-confidentiality", tuple(Obstacle(level, *LOCKED) for level in ("minimal", "reduced", "full"))),
    ],
)
def test_a_plan_lists_the_obstacles_of_higher_levels_only(name, above):
    assert plan(features(name)).obstacles == above


def test_the_plan_for_a_kernel_with_all_features():
    assert plan(features("kprobes"), Settings(sigkill="none")) == Plan(
        level="full",
        program="oomtrace.bpf.c",
        macros={
            "OFF_TASK_PID": 1264,
            "OFF_TASK_TGID": 1268,
            "NR_CPUS": 4,
            "MEMORY_HIERARCHY": -1,
            "MARK_VICTIM_TASK": 1,
            "OOM_KILL_PROCESS_SIZE": 400,
            "OOM_KILL_ONE_SIZE": 720,
            "WITH_KPROBE": 1,
        },
        hooks=(
            Hook("kprobe", "oom_kill_process", "on_oom_kill_process"),
            Hook("raw_tracepoint", "signal_generate", "on_signal_generate"),
            Hook("raw_tracepoint", "mark_victim", "on_mark_victim"),
            Hook("raw_tracepoint", "signal_deliver", "on_signal_deliver"),
            Hook("raw_tracepoint", "sched_process_exec", "on_sched_process_exec"),
        ),
        obstacles=(),
        tail_calls=("walk_fds", "emit_context", "append_victim_paths", "emit_victim_event", "emit_ranking"),
        addresses={
            "OOM_KILL_PROCESS": 18446744071584707344,
            "OOM_KILL_ONE": 18446744071584706560,
            "PER_CPU_OFFSET": 18446744071600000000,
        },
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("kprobes", {"MARK_VICTIM_TASK", "WITH_KPROBE"}),
        ("fentry-only", {"MARK_VICTIM_TASK", "WITH_FENTRY"}),
        ("mark-victim-gives-a-number", {"WITH_KPROBE"}),
        ("linux-6.18-no-kprobes-no-fentry", {"MARK_VICTIM_TASK"}),
    ],
)
def test_macros_state_the_hooks_and_the_argument_of_mark_victim(name, expected):
    switches = {"MARK_VICTIM_TASK", "WITH_KPROBE", "WITH_FENTRY"}

    assert switches & plan(features(name)).macros.keys() == expected


def test_without_the_address_of_per_cpu_data_its_macro_is_0():
    assert plan(features("linux-6.18-no-kprobes-no-fentry")).addresses["PER_CPU_OFFSET"] == 0


def test_the_number_of_cpus_is_bounded():
    assert plan(features("4096-cpus")).macros["NR_CPUS"] == 1024


def test_level_minimal_has_the_offsets_of_the_tracepoints():
    assert plan(features("no-btf"), Settings(sigkill="none")).macros == {
        "PAGE_SIZE": 4096,
        "MEMORY_HIERARCHY": -1,
        "OOM_KILL_PROCESS_SIZE": 400,
        "OOM_KILL_ONE_SIZE": 0,
        "MARK_VICTIM_PID": 8,
        "MARK_VICTIM_COMM": 12,
        "MARK_VICTIM_TOTAL_VM": 16,
        "MARK_VICTIM_ANON_RSS": 24,
        "MARK_VICTIM_FILE_RSS": 32,
        "MARK_VICTIM_SHMEM_RSS": 40,
        "MARK_VICTIM_UID": 48,
        "MARK_VICTIM_PGTABLES": 56,
        "MARK_VICTIM_OOM_SCORE_ADJ": 64,
        "SIGNAL_GENERATE_SIG": 8,
        "SIGNAL_GENERATE_CODE": 16,
        "SIGNAL_GENERATE_COMM": 20,
        "SIGNAL_GENERATE_PID": 36,
        "CGROUP_MKDIR_ROOT": -1,
        "CGROUP_MKDIR_PATH": -1,
        "SIGNAL_GENERATE_RESULT": 44,
    }


def test_fields_that_an_older_tracepoint_lacks_are_absent():
    macros = plan(features("no-btf-and-a-short-record")).macros

    assert macros["MARK_VICTIM_PID"] == 8
    assert {name for name, value in macros.items() if value == -1} == {
        "MARK_VICTIM_COMM",
        "MARK_VICTIM_TOTAL_VM",
        "MARK_VICTIM_ANON_RSS",
        "MARK_VICTIM_FILE_RSS",
        "MARK_VICTIM_SHMEM_RSS",
        "MARK_VICTIM_UID",
        "MARK_VICTIM_PGTABLES",
        "MARK_VICTIM_OOM_SCORE_ADJ",
        "MEMORY_HIERARCHY",
        "CGROUP_MKDIR_ROOT",
        "CGROUP_MKDIR_PATH",
    }


CGROUPS: dict[str, Any] = {"cgroup_mkdir": ("cgroup *", "char *"), "memory_hierarchy": 4}
FORMATS = {"cgroup/cgroup_mkdir": {"root": (8, 4), "path": (24, 4)}}


@pytest.mark.parametrize("level", ["full", "reduced"])
def test_raw_tracepoints_report_cgroups_through_a_buffer_of_their_own(level):
    chosen = plan(replace(features("kprobes"), **CGROUPS), Settings(level=level, sigkill="none"))

    assert chosen.level == level
    assert chosen.hooks[-2:] == (
        Hook("raw_tracepoint", "cgroup_mkdir", "on_cgroup_mkdir"),
        Hook("raw_tracepoint", "cgroup_rmdir", "on_cgroup_rmdir"),
    )
    assert chosen.macros["MEMORY_HIERARCHY"] == 4
    assert chosen.auxiliary_buffers == {"cgroup_changes": 65536}


def test_sigkills_and_cgroups_have_a_buffer_each():
    host = replace(features("kprobes"), **CGROUPS)

    assert plan(host).auxiliary_buffers.keys() == {"cgroup_changes", "sigkills"}


def test_tracepoints_report_cgroups_at_level_minimal():
    host = replace(features("no-btf"), memory_hierarchy=0, formats={**features("no-btf").formats, **FORMATS})
    chosen = plan(host, Settings(sigkill="none"))

    assert chosen.level == "minimal"
    assert [(hook.kind, hook.target) for hook in chosen.hooks[-2:]] == [
        ("tracepoint", "cgroup:cgroup_mkdir"),
        ("tracepoint", "cgroup:cgroup_rmdir"),
    ]
    names = ("MEMORY_HIERARCHY", "CGROUP_MKDIR_ROOT", "CGROUP_MKDIR_PATH")
    assert [chosen.macros[name] for name in names] == [0, 8, 24]
    assert chosen.auxiliary_buffers == {"cgroup_changes": 65536}


@pytest.mark.parametrize(
    ("level", "changes"),
    [
        ("full", {**CGROUPS, "memory_hierarchy": None}),
        ("full", {**CGROUPS, "cgroup_mkdir": None}),
        ("full", {**CGROUPS, "cgroup_mkdir": ("cgroup *",)}),
        ("minimal", {**CGROUPS, "memory_hierarchy": None, "formats": FORMATS}),
        ("minimal", {**CGROUPS, "formats": {"cgroup/cgroup_mkdir": {"root": (8, 4)}}}),
        ("log", {**CGROUPS, "formats": FORMATS}),
    ],
)
def test_without_what_they_read_no_program_for_cgroups_is_attached_and_the_level_is_the_same(level, changes):
    host = features("kprobes")
    if "formats" in changes:
        changes = {**changes, "formats": {**host.formats, **changes["formats"]}}
    chosen = plan(replace(host, **changes), Settings(level=level, sigkill="none"))

    assert chosen.level == level
    assert not [hook for hook in chosen.hooks if "cgroup" in hook.target]
    assert chosen.auxiliary_buffers == {}


@pytest.mark.parametrize("highest", ["log", "minimal", "reduced", "full"])
def test_a_plan_is_not_above_the_allowed_level(highest):
    assert plan(features("kprobes"), Settings(level=highest)).level == highest


def test_a_level_above_the_allowed_one_is_not_an_obstacle():
    assert plan(features("kprobes"), Settings(level="reduced")).obstacles == ()


@pytest.mark.parametrize("require", ["log", "minimal", "reduced", "full"])
def test_a_level_at_or_above_the_required_one_satisfies(require):
    assert plan(features("kprobes"), Settings(require=require)).level == "full"


def cannot(name: str, highest: Level = "full", require: Level | None = None) -> CannotTraceError:
    with pytest.raises(CannotTraceError) as caught:
        plan(features(name), Settings(level=highest, require=require))
    return caught.value


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ("linux-6.18-no-kprobes-no-fentry", "full", "full"),
            "level full cannot be reached: the kernel has no kprobes and rejects fentry (Operation not permitted); "
            "boot a kernel built with CONFIG_KPROBES=y",
        ),
        (
            ("no-btf", "full", "reduced"),
            "level reduced cannot be reached: kernel type information is unavailable: "
            "/sys/kernel/btf/vmlinux: No such file or directory; boot a kernel built with CONFIG_DEBUG_INFO_BTF=y",
        ),
        (
            ("no-capabilities", "full", "minimal"),
            "level minimal cannot be reached: loading BPF programs requires CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN; "
            f"{GRANT}",
        ),
        (
            ("no-tracefs", "minimal", "minimal"),
            "level minimal cannot be reached: /sys/kernel/tracing cannot be read; "
            "mount -t tracefs tracefs /sys/kernel/tracing",
        ),
        (
            ("kprobes", "log", "minimal"),
            "level minimal cannot be reached: --level log was given; raise --level or lower --require",
        ),
        (
            ("kprobes", "minimal", "reduced"),
            "level reduced cannot be reached: --level minimal was given; raise --level or lower --require",
        ),
        (
            ("no-tracefs-no-kprobes-no-fentry", "full", "full"),
            "level full cannot be reached: the kernel has no kprobes and rejects fentry (Operation not permitted); "
            "boot a kernel built with CONFIG_KPROBES=y",
        ),
    ],
)
def test_a_required_level_that_is_blocked_is_one_line_and_exit_code_77(arguments, line):
    error = cannot(*arguments)

    assert str(error) == line
    assert error.exit_code == 77


@pytest.mark.parametrize(
    ("error", "why"),
    [
        ("No such file or directory", NO_TRACEFS),
        ("Permission denied", (NO_TRACEFS[0], GRANT_READ)),
        ("", NO_TRACEPOINT),
    ],
)
def test_unreadable_tracefs_has_a_fact_and_a_hint(error, why):
    found = obstacles(replace(features("no-tracefs"), tracefs_error=error))

    assert found[0] == Obstacle("minimal", *why)


SECRET: dict[str, Any] = {"kmsg_error": "Operation not permitted", "dmesg_restrict": True}
NONE: dict[str, Any] = {"kmsg_error": "No such file or directory"}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        (NONE, ("/dev/kmsg cannot be read (No such file or directory)", CREATE)),
        ({"kmsg_error": "Operation not permitted"}, ("/dev/kmsg cannot be read (Operation not permitted)", ALLOW)),
        ({"kmsg_error": "Permission denied"}, ("/dev/kmsg cannot be read (Permission denied)", GRANT_READ)),
        (SECRET, ("/dev/kmsg cannot be read (kernel.dmesg_restrict=1 and no CAP_SYSLOG)", GRANT_SYSLOG)),
        ({**SECRET, **NONE}, ("/dev/kmsg cannot be read (No such file or directory)", CREATE)),
        ({**SECRET, "capabilities": 1 << 34}, ("/dev/kmsg cannot be read (Operation not permitted)", ALLOW)),
    ],
)
def test_an_unreadable_kernel_log_has_a_fact_and_a_hint(changes, why):
    assert obstacles(replace(features("no-capabilities"), **changes))[0] == Obstacle("log", *why)


def test_an_unreadable_kernel_log_blocks_no_other_level():
    chosen = plan(replace(features("kprobes"), **SECRET), Settings(require="log"))

    assert (chosen.level, chosen.obstacles) == ("full", ())


def test_without_bcc_the_plan_is_the_kernel_log():
    chosen = plan(replace(features("kprobes"), bcc_error=NO_BCC[0]))

    assert chosen == Plan(
        "log",
        "",
        {},
        (Hook("kmsg", "/dev/kmsg"),),
        tuple(Obstacle(level, *NO_BCC) for level in ("minimal", "reduced", "full")),
    )


@pytest.mark.parametrize("require", [None, "log"])
@pytest.mark.parametrize(
    ("name", "highest", "changes", "line"),
    [
        (
            "no-capabilities",
            "full",
            SECRET,
            f"no level can be reached: {NO_CAPABILITY[0]}, and "
            f"/dev/kmsg cannot be read (kernel.dmesg_restrict=1 and no CAP_SYSLOG); {GRANT}, or {GRANT_SYSLOG}",
        ),
        (
            "no-tracefs-no-btf",
            "full",
            NONE,
            "no level can be reached: /sys/kernel/tracing cannot be read, and "
            "/dev/kmsg cannot be read (No such file or directory); "
            f"mount -t tracefs tracefs /sys/kernel/tracing, or {CREATE}",
        ),
        (
            "kprobes",
            "log",
            NONE,
            f"no level can be reached: /dev/kmsg cannot be read (No such file or directory); {CREATE}",
        ),
    ],
)
def test_if_no_level_can_be_reached_one_line_states_both_obstacles(name, highest, changes, line, require):
    with pytest.raises(CannotTraceError) as caught:
        plan(replace(features(name), **changes), Settings(level=highest, require=require))

    assert str(caught.value) == line
    assert caught.value.exit_code == 77


BADNESS = ("kprobe:out_of_memory", "kprobe:oom_badness", "kretprobe:oom_badness")
PART = ("kprobe:out_of_memory", "kprobe:oom_badness.part.0", "kretprobe:oom_badness.part.0")


@pytest.mark.parametrize(
    ("symbols", "hooks"),
    [
        (("out_of_memory", "oom_badness"), BADNESS),
        (("out_of_memory", "oom_badness", "oom_badness.part.0"), PART),
        (("out_of_memory",), ()),
        (("oom_badness",), ()),
    ],
)
def test_the_ranking_is_probed_in_the_function_that_callers_enter(symbols, hooks):
    full = features("kprobes")
    there = {**full.symbols, **dict.fromkeys(symbols, (1, 2))}

    chosen = plan(replace(full, symbols={name: there[name] for name in ("oom_kill_process", *symbols)}))

    assert names(chosen) == ("kprobe:oom_kill_process", *hooks, *RAW)


@pytest.mark.parametrize("name", ["kprobes", "fentry-only", "linux-6.18-no-kprobes-no-fentry"])
def test_no_arguments_are_read_without_cmdline(name):
    plain, chosen = plan(features(name)), plan(features(name), Settings(cmdline="none"))

    assert set(names(plain)) - set(names(chosen)) == {"raw_tracepoint:sched_process_exec"}
    assert chosen.macros == {**plain.macros, "NO_ARGUMENTS": 1}


@pytest.mark.parametrize("name", ["kprobes", "fentry-only", "linux-6.18-no-kprobes-no-fentry"])
@pytest.mark.parametrize(
    ("settings", "hooks", "macros"),
    [
        (Settings(), (), set()),
        (Settings(env=("A", "B_*")), (), {"ENVIRONMENT"}),
        (Settings(lifecycle=True), ("raw_tracepoint:sched_process_exit",), {"WITH_EXIT"}),
        (
            Settings(env=("A",), lifecycle=True),
            ("raw_tracepoint:sched_process_exit",),
            {"ENVIRONMENT", "WITH_EXIT"},
        ),
    ],
)
def test_only_what_the_settings_ask_for_is_compiled_and_attached(name, settings, hooks, macros):
    plain, chosen = plan(features(name)), plan(features(name), settings)

    assert names(chosen) == (*names(plain), *hooks)
    assert chosen.macros == {**plain.macros, **dict.fromkeys(macros, 1)}
    assert chosen.tail_calls == plain.tail_calls == SIGKILL_TAIL_CALLS


def test_level_minimal_ignores_env_and_lifecycle_and_has_no_tail_calls():
    asked, plain = plan(features("no-btf"), Settings(env=("A",), lifecycle=True)), plan(features("no-btf"))

    assert asked == plain
    assert plain.tail_calls == ()


def test_tail_calls_are_in_the_order_of_the_enum_in_the_program():
    text = (Path(__file__).parents[3] / "bpf/oomtrace.bpf.c").read_text()

    (names,) = re.findall(r"^enum tail_call \{([^}]+)\};", text, re.MULTILINE)
    programs = tuple(name.strip().lower() for name in names.split(",") if name.strip())
    assert programs == SIGKILL_TAIL_CALLS
    assert programs[: len(TAIL_CALLS)] == TAIL_CALLS
    assert f"BPF_PROG_ARRAY(tail_calls, {len(programs)});" in text
    for program in SIGKILL_TAIL_CALLS:
        assert f"\nint {program}(" in text


@pytest.mark.parametrize("symbols", [{}, {"oom_kill_process": (0, 0)}])
def test_an_unknown_address_of_the_oom_killer_is_0(symbols):
    chosen = plan(replace(features("linux-6.18-no-kprobes-no-fentry"), symbols=symbols))

    assert (chosen.addresses["OOM_KILL_PROCESS"], chosen.macros["OOM_KILL_PROCESS_SIZE"]) == (0, 0)


@pytest.mark.parametrize(("level", "settings"), [("full", Settings()), ("minimal", Settings(level="minimal"))])
def test_no_macro_has_a_kernel_address(level, settings):
    host = features("kprobes")
    moved = {name: (start + (1 << 24), end + (1 << 24)) for name, (start, end) in host.symbols.items()}
    here, there = plan(host, settings), plan(replace(host, symbols=moved), settings)

    assert here.level == level
    assert here.macros == there.macros
    assert here.addresses.keys() == there.addresses.keys()
    assert here.addresses != there.addresses


def test_every_attached_function_is_in_the_program():
    both = Settings(env=("A",), lifecycle=True)
    text = (Path(__file__).parents[3] / "bpf/oomtrace.bpf.c").read_text()

    for hook in plan(features("kprobes"), both).hooks:
        assert f"\nint {hook.program}(" in text
