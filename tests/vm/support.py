# SPDX-License-Identifier: Apache-2.0
"""Writes docs/support.md, kernel x kind of OOM, from the newest results; do not edit that file by hand."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from . import results
from .host import cache_dir
from .matrix import Cell, load

TABLE = Path(__file__).parent.parent.parent / "docs/support.md"
TITLES = {
    "allocating_task": "global OOM with `vm.oom_kill_allocating_task`",
    "cached": "programs that another tracer has compiled",
    "context": "ten victims' arguments, files and connections",
    "deep": "a cgroup 39 levels below the limit",
    "dying": "a process that was already dying: no kill",
    "dying_chosen": "the chosen process was sent SIGKILL before: no kill",
    "fentry": "no kprobes: fentry instead",
    "global": "global OOM",
    "group": "`memory.oom.group`, 8 processes",
    "leaderless": "main thread gone",
    "memcg": "cgroup limit (version 2)",
    "memcg_v1": "cgroup limit (version 1)",
    "nested": "limit at an ancestor, victim and trigger apart",
    "shared_mm": "two processes, one memory",
    "spared": "the biggest is exempt (`oom_score_adj` -1000)",
    "no_kill": "nothing can be killed",
    "scores": "`oomtrace scores` before a kill in a cgroup with swap",
    "swap": "swap takes part in the points",
    "sysrq": "sysrq-f",
    "threads": "a process of 5,001 threads",
    "storm": "96 kills, eight at once",
    "story": "a Sidekiq job and its lock in Redis",
    "postgres": "a PostgreSQL backend",
    "container": "a process in a podman container",
    "service": "services of systemd: `MemoryMax=`, `OOMPolicy=`, a template",
    "slice": "the limit of a systemd slice",
    "systemd_driver": "scopes of the systemd cgroup driver: container, pod and QoS limits",
    "user_session": "a login session and a user's own services",
    "podman": "podman containers in scopes of systemd",
    "podman_rootless": "a user's podman containers",
    "own_service": "the Debian package as a service: journal, file, reload, SIGKILL, watchdog, upgrade, purge",
    "oomd": "SIGKILLs of systemd-oomd",
    "early_oom": "a SIGKILL of earlyoom",
    "cpuset": "cpuset (two memory nodes)",
    "mempolicy": "memory policy (two memory nodes)",
    "vanished": "the cgroup removed as soon as it can be",
    "clock_step": "the clock set while tracing",
    "no_tracefs": "tracefs unmounted while tracing",
    "hotplug": "a CPU goes and comes back while tracing",
}
HEAD = """\
# Support matrix

Written by `make support-table` from the newest results of `make test-vm`, which boots these Debian kernels in QEMU. A
tracer of each level runs during every scenario.

- `yes`: the lines of all levels were right. `full` agreed with the kernel's own log to the page and to the kilobyte,
  `reduced` and `minimal` in everything that they can know, and `log` and `oomtrace logs` in everything that the log has
  of the same kills.
- `-`: this kernel cannot make this kind of OOM, or the scenario has not been run on it in its present form.

BCC is 0.26 with LLVM 14 (Debian 12, Python 3.11). It is 0.31 with LLVM 19 (Debian 13, Python 3.13) in the columns
marked trixie, and 0.37 with LLVM 21 (Debian unstable, Python 3.14) in those marked sid. Kernels marked arm64 have pages
of 4 KiB, arm64-16k pages of 16 KiB; rt is PREEMPT_RT; all others are x86-64. CI runs most boots of 5.10, 6.1, 6.12 and
7.3, and one of arm64 with two scenarios; the others are run by hand. The last row has the day of the oldest result in
each column.

"""


def main() -> int:
    """Add the results of the last run to those that are kept, and write the table; 1 if one is missing or bad."""
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else cache_dir() / "out"
    cells = [cell for cell in load().cells() if cell.machine.by_default]
    kept = results.load()
    for cell in cells:
        kept |= results.of_boot(cell, out)
    results.save(kept, cells)
    TABLE.write_text(page(cells, kept))
    return int(not kept or any("NO" in row for row in rows(cells, kept)))


def page(cells: Sequence[Cell], kept: Mapping[results.Key, results.Result]) -> str:
    """Return docs/support.md."""
    return HEAD + "".join(f"| {' | '.join(row)} |\n" for row in rows(cells, kept))


def rows(cells: Sequence[Cell], kept: Mapping[results.Key, results.Result]) -> Iterator[tuple[str, ...]]:
    """Yield the rows of the table; a column for each kernel and userland of which there are results."""
    boots = {cell.name: _column(cell) for cell in cells}
    found: dict[str, list[tuple[str, results.Result]]] = {column: [] for column in boots.values()}
    for (boot, scenario), result in kept.items():
        if boot in boots:
            found[boots[boot]].append((scenario, result))
    columns = {column: those for column, those in found.items() if those}
    yield ("kind of OOM", *columns)
    yield ("---",) * (len(columns) + 1)
    for name, title in TITLES.items():
        yield (title, *(_answer([it for scenario, it in those if scenario == name]) for those in columns.values()))
    yield ("oldest result", *(min(result.date for _, result in those) for those in columns.values()))


def _answer(those: Sequence[results.Result]) -> str:
    """Sum up the results of one scenario, which may run on several machines."""
    if not those:
        return "-"
    return "yes" if all(result.status == "0" for result in those) else "NO"


def _column(cell: Cell) -> str:
    # the userlands of the services and of systemd are bookworm, too
    return (
        cell.kernel.name
        if cell.userland.name in ("bookworm", "services", "systemd")
        else f"{cell.kernel.name} {cell.userland.name}"
    )


if __name__ == "__main__":
    sys.exit(main())
