# SPDX-License-Identifier: Apache-2.0
"""From what a kernel offers to what will be attached: the ladder of sources, as a pure function."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from ooMtrace.errors import CannotTraceError
from ooMtrace.kernel.features import CAP_SYSLOG, Features
from ooMtrace.settings import LEVELS, Level, Settings

FORMAT_MACROS = {
    "oom/mark_victim": (
        "pid",
        "comm",
        "total_vm",
        "anon_rss",
        "file_rss",
        "shmem_rss",
        "uid",
        "pgtables",
        "oom_score_adj",
    ),
    "signal/signal_generate": ("sig", "code", "comm", "pid"),
}
"""Fields of the tracepoints' records that the level `minimal` reads."""


HookKind = Literal["kprobe", "kretprobe", "fentry", "fexit", "raw_tracepoint", "tracepoint", "kmsg"]


@dataclass(frozen=True, slots=True)
class Hook:
    """One place in the kernel and the BPF program that runs there.

    Attributes:
        kind: How it is attached.
        target: A kernel function, a tracepoint (`category:name` where `kind` is tracepoint) or a device.
        program: The program's name in the BPF source; "" where nothing is attached (the kernel log).
    """

    kind: HookKind
    target: str
    program: str = ""

    def __str__(self) -> str:
        """Return `kind:target`, as doctor prints it."""
        return f"{self.kind}:{self.target}"


MINIMAL_HOOKS = (
    Hook("tracepoint", "signal:signal_generate", "on_signal_generate"),
    Hook("tracepoint", "oom:mark_victim", "on_mark_victim"),
)

LOG_HOOKS = (Hook("kmsg", "/dev/kmsg"),)

TAIL_CALLS = ("walk_fds", "emit_context")


Reason = tuple[str, str]
"""What is so, and what would help."""


@dataclass(frozen=True, slots=True)
class Obstacle:
    """What keeps this host from a level, and what would help."""

    level: Level
    fact: str
    hint: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What to compile and where to attach it.

    Attributes:
        level: The level it reaches.
        program: The file in bpf/ to compile; "" at level `log`, which needs neither BPF nor BCC.
        macros: For the compiler's command line.
        hooks: What is attached, in this order.
        tail_calls: Programs that others call, in the order of `enum tail_call` in the program.
        obstacles: What kept it from each higher level.
    """

    level: Level
    program: str
    macros: dict[str, int]
    hooks: tuple[Hook, ...]
    obstacles: tuple[Obstacle, ...]
    tail_calls: tuple[str, ...] = ()


DEFAULT_SETTINGS = Settings()


def plan(features: Features, settings: Settings = DEFAULT_SETTINGS) -> Plan:
    """Choose the highest level that the kernel offers, not above `settings.level`.

    Raises:
        CannotTraceError: No level can be reached, or none as high as `settings.require`.
    """
    found = obstacles(features)
    blocked = {obstacle.level for obstacle in found}
    allowed = LEVELS[: LEVELS.index(settings.level) + 1]
    reached = [level for level in allowed if level not in blocked]
    require = settings.require
    if not reached and require in (None, LEVELS[0]):
        raise _nothing([obstacle for obstacle in reversed(found) if obstacle.level in allowed[:2]])
    if not reached or (require and LEVELS.index(reached[-1]) < LEVELS.index(require)):
        why = next((o for o in found if o.level == require), None)
        fact = why.fact if why else f"--level {settings.level} was given"
        hint = why.hint if why else "raise --level or lower --require"
        raise CannotTraceError(f"level {require} cannot be reached: {fact}", hint)
    level = reached[-1]
    above = tuple(o for o in found if LEVELS.index(o.level) > LEVELS.index(level))
    if level == "log":
        return Plan(level, "", {}, LOG_HOOKS, above)
    if level == "minimal":
        return Plan(level, "minimal.bpf.c", _minimal_macros(features), MINIMAL_HOOKS, above)
    hooks = tuple(_hooks(features, level, lifecycle=settings.lifecycle))
    return Plan(level, "oomtrace.bpf.c", _macros(features, level, settings), hooks, above, TAIL_CALLS)


def _nothing(lowest: list[Obstacle]) -> CannotTraceError:
    """Neither BPF nor the kernel log: say why of both, for either would do."""
    facts = ", and ".join(dict.fromkeys(obstacle.fact for obstacle in lowest))
    hints = ", or ".join(dict.fromkeys(obstacle.hint for obstacle in lowest))
    return CannotTraceError(f"no level can be reached: {facts}", hints)


def obstacles(features: Features) -> tuple[Obstacle, ...]:
    """Return at most one obstacle for each level; what keeps from one mostly keeps from those above it, too."""
    minimal = _minimal_obstacle(features)
    reduced = minimal if minimal and minimal[0] != NO_TRACEFS else None
    reduced = reduced or types_obstacle(features)
    full = reduced or decision_obstacle(features)
    found: dict[Level, Reason | None] = {
        "log": kmsg_obstacle(features),
        "minimal": minimal,
        "reduced": reduced,
        "full": full,
    }
    return tuple(Obstacle(level, *reason) for level, reason in found.items() if reason)


DENIED, NOT_PERMITTED = "Permission denied", "Operation not permitted"
RUN_AS_ROOT = "run it as root: sudo oomtrace (a container: privileged)"
GIVE_KMSG = "give the container the host's: --device /dev/kmsg"
INSTALL_BCC = "install it from your distribution: apt-get install python3-bpfcc (PyPI's `bcc` is another project)"
NO_CAPABILITY = ("loading BPF programs needs CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN", RUN_AS_ROOT)
CONFIDENTIAL = ("kernel lockdown is in mode confidentiality", "only the kernel log tells of kills on this host")
NO_TRACEFS = "tracefs cannot be read"
NO_TRACEPOINT = ("the kernel has no tracepoint oom:mark_victim", "it came with Linux 4.14")


def kmsg_obstacle(features: Features) -> Reason | None:
    """Say what keeps from the kernel log."""
    if not features.kmsg_error:
        return None
    if features.kmsg_error == NOT_PERMITTED and features.dmesg_restrict and not features.has(CAP_SYSLOG):
        return "/dev/kmsg cannot be read (kernel.dmesg_restrict=1 and no CAP_SYSLOG)", RUN_AS_ROOT
    hint = RUN_AS_ROOT if features.kmsg_error == DENIED else GIVE_KMSG
    return f"/dev/kmsg cannot be read ({features.kmsg_error})", hint


def _minimal_obstacle(features: Features) -> Reason | None:
    if not features.can_load_bpf():
        return NO_CAPABILITY
    if features.lockdown == "confidentiality":
        return CONFIDENTIAL
    if features.bcc_error:
        return features.bcc_error, INSTALL_BCC
    return tracefs_obstacle(features)


def tracefs_obstacle(features: Features) -> Reason | None:
    """Say what keeps from the tracepoints' format."""
    if features.tracefs_error == DENIED:
        return NO_TRACEFS, f"{RUN_AS_ROOT}, or with CAP_DAC_READ_SEARCH"
    if features.tracefs_error:
        return NO_TRACEFS, "mount -t tracefs tracefs /sys/kernel/tracing"
    return None if features.formats.get("oom/mark_victim") else NO_TRACEPOINT


def types_obstacle(features: Features) -> Reason | None:
    """Say what keeps from the kernel's structures."""
    if features.btf_error or features.offsets is None:
        return f"no kernel type information ({features.btf_error})", "a kernel with CONFIG_DEBUG_INFO_BTF=y has it"
    if features.offsets.lacking:
        return f"this kernel has no {features.offsets.lacking[0]}", "please report it, with `oomtrace doctor --json`"
    return NO_TRACEPOINT if features.mark_victim is None else None


def decision_obstacle(features: Features) -> Reason | None:
    """Say what keeps from the kernel's decision."""
    if "oom_kill_process" not in features.symbols:
        return "oom_kill_process is not in /proc/kallsyms", "the compiler has inlined it, or CONFIG_KALLSYMS is off"
    if not features.kprobes and features.fentry_error:
        return (
            f"the kernel has no kprobes, and refuses fentry ({features.fentry_error})",
            "a kernel with CONFIG_KPROBES=y has them",
        )
    return None


def _hooks(features: Features, level: Level, *, lifecycle: bool) -> Iterator[Hook]:
    if level == "full" and features.kprobes:
        yield Hook("kprobe", "oom_kill_process", "on_oom_kill_process")
        yield from _ranking_hooks(features)
    elif level == "full":
        # BCC attaches these by itself, all or none.
        yield Hook("fentry", "oom_kill_process")
        yield Hook("fentry", "out_of_memory")
        yield Hook("fexit", "oom_badness")
    for name in ("signal_generate", "mark_victim", "signal_deliver", "sched_process_exec"):
        yield Hook("raw_tracepoint", name, f"on_{name}")
    if lifecycle:
        yield Hook("raw_tracepoint", "sched_process_exit", "on_sched_process_exit")


def _ranking_hooks(features: Features) -> tuple[Hook, ...]:
    """Probe where oom_badness() really is: a compiler may have split it, and callers then go to the part."""
    badness = next((name for name in ("oom_badness.part.0", "oom_badness") if name in features.symbols), None)
    if badness is None or "out_of_memory" not in features.symbols:
        return ()
    return (
        Hook("kprobe", "out_of_memory", "on_out_of_memory"),
        Hook("kprobe", badness, "on_oom_badness"),
        Hook("kretprobe", badness, "on_oom_badness_return"),
    )


def _macros(features: Features, level: Level, settings: Settings) -> dict[str, int]:
    macros = {**(features.offsets.macros if features.offsets else {}), **_killer_macros(features)}
    macros["PER_CPU_OFFSET"] = features.symbols.get("__per_cpu_offset", (0, 0))[0]
    macros["NR_CPUS"] = min(features.possible_cpus, 1024)
    # 72ba14deb40a (6.9, and in stable series) turned the argument from a thread's id into the task.
    if features.mark_victim and features.mark_victim[0] == "task_struct *":
        macros["MARK_VICTIM_TASK"] = 1
    if settings.env:
        macros["ENVIRONMENT"] = 1
    if settings.lifecycle:
        macros["WITH_EXIT"] = 1
    if level == "full":
        macros["WITH_KPROBE" if features.kprobes else "WITH_FENTRY"] = 1
    return macros


def _killer_macros(features: Features) -> dict[str, int]:
    """Tell where the functions are that a signal of the OOM killer comes from; 0: not known."""
    macros = {}
    for macro, symbol in (("OOM_KILL_PROCESS", "oom_kill_process"), ("OOM_KILL_ONE", "__oom_kill_process")):
        start, end = features.symbols.get(symbol, (0, 0))
        macros[macro], macros[f"{macro}_SIZE"] = start, end - start
    return macros


def _minimal_macros(features: Features) -> dict[str, int]:
    macros = {"PAGE_SIZE": features.page_size, **_killer_macros(features)}
    for tracepoint, names in FORMAT_MACROS.items():
        fields = features.formats.get(tracepoint, {})
        prefix = tracepoint.split("/")[1].upper()
        for name in names:
            macros[f"{prefix}_{name.upper()}"] = fields[name][0] if name in fields else -1
    return macros
