# SPDX-License-Identifier: Apache-2.0
"""From what a kernel offers to what is compiled and attached: the ladder of levels. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from ooMtrace.errors import CannotTraceError
from ooMtrace.kernel.features import Features
from ooMtrace.kernel.obstacles import Obstacle, obstacles
from ooMtrace.kernel.sigkill_macros import sigkill_buffers, sigkill_macros
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
    "signal/signal_generate": ("sig", "code", "comm", "pid", "result"),
    "cgroup/cgroup_mkdir": ("root", "path"),
}
"""Tracepoint -> fields of its record that level `minimal` reads."""

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

CGROUP_CHANGES = "cgroup_changes"
"""The perf buffer for cgroups that are made and removed."""

CGROUP_BUFFER_BYTES = 64 << 10
"""For each CPU: some hundred changes. Names of a container whose change is lost are read at the kill."""

LOG_HOOKS = (Hook("kmsg", "/dev/kmsg"),)

KILLERS = {"OOM_KILL_PROCESS": "oom_kill_process", "OOM_KILL_ONE": "__oom_kill_process"}
"""Macro -> the function that the OOM killer sends its signals from."""

TAIL_CALLS = ("walk_fds", "emit_context", "append_victim_paths", "emit_victim_event", "emit_ranking")
SIGKILL_TAIL_CALLS = (*TAIL_CALLS, "emit_sigkill", "append_sigkill_paths")


@dataclass(frozen=True, slots=True)
class Plan:
    """What to compile and where to attach it.

    Attributes:
        level: The level it reaches.
        program: The file in bpf/ to compile; "" at level `log`, which needs neither BPF nor BCC.
        macros: Preprocessor macros for the compiler.
        hooks: What is attached, in this order.
        tail_calls: Programs that others call, in the order of `enum tail_call` in the program.
        obstacles: Why each higher level is out of reach.
        auxiliary_buffers: BPF maps of further perf buffers, with the size of each CPU's buffer in bytes.
        addresses: Macros whose value is a kernel address of this boot; 0: unknown.
    """

    level: Level
    program: str
    macros: dict[str, int]
    hooks: tuple[Hook, ...]
    obstacles: tuple[Obstacle, ...]
    tail_calls: tuple[str, ...] = ()
    auxiliary_buffers: Mapping[str, int] = field(default_factory=dict)
    addresses: Mapping[str, int] = field(default_factory=dict)


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
        raise _no_level([obstacle for obstacle in reversed(found) if obstacle.level in allowed[:2]])
    if not reached or (require and LEVELS.index(reached[-1]) < LEVELS.index(require)):
        raise _below_required(found, settings)
    return _plan(features, settings, reached[-1], found)


def _no_level(lowest: list[Obstacle]) -> CannotTraceError:
    """Name the obstacles of BPF and of the kernel log, for either of the two would do."""
    facts = ", and ".join(dict.fromkeys(obstacle.fact for obstacle in lowest))
    hints = ", or ".join(dict.fromkeys(obstacle.hint for obstacle in lowest if obstacle.hint))
    return CannotTraceError(f"no level can be reached: {facts}", hints)


def _below_required(found: tuple[Obstacle, ...], settings: Settings) -> CannotTraceError:
    obstacle = next((obstacle for obstacle in found if obstacle.level == settings.require), None)
    fact = obstacle.fact if obstacle else f"--level {settings.level} was given"
    hint = obstacle.hint if obstacle else "raise --level or lower --require"
    return CannotTraceError(f"level {settings.require} cannot be reached: {fact}", hint)


def _plan(features: Features, settings: Settings, level: Level, found: tuple[Obstacle, ...]) -> Plan:
    above = tuple(obstacle for obstacle in found if LEVELS.index(obstacle.level) > LEVELS.index(level))
    if level == "log":
        return Plan(level, "", {}, LOG_HOOKS, above)
    watch = tuple(_cgroup_hooks(features, level))
    sigkill = sigkill_macros(features, settings)
    buffers = {
        **({CGROUP_CHANGES: CGROUP_BUFFER_BYTES} if watch else {}),
        **sigkill_buffers(features, settings),
    }
    if level == "minimal":
        macros, hooks = {**_minimal_macros(features), **sigkill}, (*MINIMAL_HOOKS, *watch)
        addresses = _addresses(features, sigkill=bool(sigkill))
        return Plan(level, "minimal.bpf.c", macros, hooks, above, auxiliary_buffers=buffers, addresses=addresses)
    macros, hooks = {**_macros(features, level, settings), **sigkill}, (*_hooks(features, level, settings), *watch)
    tail_calls = SIGKILL_TAIL_CALLS if sigkill else TAIL_CALLS
    addresses = _addresses(features, per_cpu=True, sigkill=bool(sigkill))
    return Plan(level, "oomtrace.bpf.c", macros, hooks, above, tail_calls, buffers, addresses)


def _hooks(features: Features, level: Level, settings: Settings) -> Iterator[Hook]:
    if level == "full" and features.kprobes:
        yield Hook("kprobe", "oom_kill_process", "on_oom_kill_process")
        yield from _ranking_hooks(features)
    elif level == "full":
        # BCC attaches these itself, by the names of their functions: all or none.
        yield Hook("fentry", "oom_kill_process")
        yield Hook("fentry", "out_of_memory")
        yield Hook("fexit", "oom_badness")
    for name in ("signal_generate", "mark_victim", "signal_deliver", "sched_process_exec"):
        if name != "sched_process_exec" or settings.cmdline != "none":  # it keeps the arguments at exec
            yield Hook("raw_tracepoint", name, f"on_{name}")
    if settings.lifecycle:
        yield Hook("raw_tracepoint", "sched_process_exit", "on_sched_process_exit")


def _cgroup_hooks(features: Features, level: Level) -> Iterator[Hook]:
    """Yield the probes of cgroups that are made and removed, where the kernel offers what they read.

    Raw tracepoints of older kernels have no path: before 4.19 (e4f8d81c738d).
    """
    if features.memory_hierarchy is None:
        return
    names = ("cgroup_mkdir", "cgroup_rmdir")
    if level == "minimal":
        if all(field in features.formats.get("cgroup/cgroup_mkdir", {}) for field in ("root", "path")):
            yield from (Hook("tracepoint", f"cgroup:{name}", f"on_{name}") for name in names)
    elif features.cgroup_mkdir == ("cgroup *", "char *"):
        yield from (Hook("raw_tracepoint", name, f"on_{name}") for name in names)


def _ranking_hooks(features: Features) -> tuple[Hook, ...]:
    """Return the probes of the ranking; a compiler may have split oom_badness(), and callers then enter the part."""
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
    macros["NR_CPUS"] = min(features.possible_cpus, 1024)
    macros["MEMORY_HIERARCHY"] = _memory_hierarchy(features)
    # 72ba14deb40a (6.9, and in stable series) turned the argument from a thread's id into the task.
    if features.mark_victim and features.mark_victim[0] == "task_struct *":
        macros["MARK_VICTIM_TASK"] = 1
    if settings.env:
        macros["ENVIRONMENT"] = 1
    if settings.cmdline == "none":
        macros["NO_ARGUMENTS"] = 1
    if settings.lifecycle:
        macros["WITH_EXIT"] = 1
    if level == "full":
        macros["WITH_KPROBE" if features.kprobes else "WITH_FENTRY"] = 1
    return macros


def _killer_macros(features: Features) -> dict[str, int]:
    """Return the sizes of the functions that the OOM killer sends its signals from; 0: unknown."""
    macros = {}
    for macro, symbol in KILLERS.items():
        start, end = features.symbols.get(symbol, (0, 0))
        macros[f"{macro}_SIZE"] = end - start
    return macros


def _addresses(features: Features, *, per_cpu: bool = False, sigkill: bool) -> dict[str, int]:
    """Return the macros for kernel addresses, which are different in each boot (KASLR)."""
    symbols = {
        **KILLERS,
        **({"PER_CPU_OFFSET": "__per_cpu_offset"} if per_cpu else {}),
        **({"CGROUP_KILL_WRITE": "cgroup_kill_write"} if sigkill else {}),
    }
    return {macro: features.symbols.get(symbol, (0, 0))[0] for macro, symbol in symbols.items()}


def _minimal_macros(features: Features) -> dict[str, int]:
    macros = {"PAGE_SIZE": features.page_size, **_killer_macros(features)}
    macros["MEMORY_HIERARCHY"] = _memory_hierarchy(features)
    for tracepoint, names in FORMAT_MACROS.items():
        fields = features.formats.get(tracepoint, {})
        prefix = tracepoint.split("/")[1].upper()
        for name in names:
            macros[f"{prefix}_{name.upper()}"] = fields[name][0] if name in fields else -1
    return macros


def _memory_hierarchy(features: Features) -> int:
    return -1 if features.memory_hierarchy is None else features.memory_hierarchy
