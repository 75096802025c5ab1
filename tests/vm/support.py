# SPDX-License-Identifier: Apache-2.0
"""Writes docs/support.md, kernel x kind of OOM, from the results of the last run; do not edit that file by hand."""

from __future__ import annotations

import sys
from pathlib import Path

from .host import cache_dir
from .matrix import Cell, load

TABLE = Path(__file__).parent.parent.parent / "docs/support.md"
TITLES = {
    "allocating_task": "global OOM with `vm.oom_kill_allocating_task`",
    "context": "ten victims' arguments, files and connections",
    "dying": "a process that was already dying: no kill",
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
    "swap": "swap takes part in the points",
    "sysrq": "sysrq-f",
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
    "own_service": "oomtrace as a service of systemd: journal, file, reload, SIGKILL, watchdog",
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

Written by `make support-table` from the last `make test-vm`, which boots these Debian kernels in QEMU. A tracer of
each level runs during every scenario.

- `yes`: the lines of all levels were right. `full` agreed with the kernel's own log to the page and to the kilobyte,
  `reduced` and `minimal` in everything that they can know, and `log` and `oomtrace logs` in everything that the log has
  of the same kills.
- `-`: this kernel cannot make this kind of OOM, or the scenario is not run on it.

BCC is 0.26 (Debian 12, Python 3.11), or 0.31 (Debian 13, Python 3.13) in the columns marked trixie.

"""


def main() -> int:
    """Write the table; 1 if a result is missing or bad."""
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else cache_dir() / "out"
    cells = [cell for cell in load().cells() if cell.machine.by_default]
    columns = list(dict.fromkeys(_column(cell) for cell in cells))
    results: dict[tuple[str, str], str] = {}
    for cell in cells:
        for name, status in _results(out / cell.name):
            results[name, _column(cell)] = "yes" if status == "0" else "NO"
    rows = [("kind of OOM", *columns), tuple("---" for _ in range(len(columns) + 1))]
    rows += [(title, *(results.get((name, column), "-") for column in columns)) for name, title in TITLES.items()]
    TABLE.write_text(HEAD + "".join(f"| {' | '.join(row)} |\n" for row in rows))
    return int("NO" in results.values() or not results)


def _column(cell: Cell) -> str:
    # the userlands of the services and of systemd are bookworm, too
    return (
        cell.kernel.name
        if cell.userland.name in ("bookworm", "services", "systemd")
        else f"{cell.kernel.name} {cell.userland.name}"
    )


def _results(folder: Path) -> list[tuple[str, str]]:
    table = folder / "guest/results.tsv"
    if not table.exists():
        return []
    return [(row[0], row[1]) for row in (line.split("\t") for line in table.read_text().splitlines())]


if __name__ == "__main__":
    sys.exit(main())
