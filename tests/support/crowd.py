# SPDX-License-Identifier: Apache-2.0
"""A host with many processes, where one user has processes killed to delay the lines of others."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ooMtrace.kernel.scratch_cgroup import ScratchCgroup

SOURCE = Path(__file__).with_name("crowd.c")
LIMIT_BYTES = 2 << 20
ATTACKER, BYSTANDER = 61234, 61235
"""User ids that nobody has."""
INTERVAL_S = 0.5


def compile_crowd(folder: Path) -> Path:
    """Compile crowd.c and return the program."""
    program = folder / "crowd"
    subprocess.run(["cc", "-O1", "-Wall", "-Wextra", "-Werror", "-o", program, SOURCE], check=True)
    return program


@contextmanager
def idle_processes(program: Path, number: int) -> Iterator[None]:
    """Keep that many sleeping processes until the end of the block."""
    with subprocess.Popen(
        [program, "idle", str(number)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout
        assert parent.stdout.readline() == "ready\n"
        yield
        parent.communicate(timeout=60)  # closes its stdin


@dataclass
class Scene:
    """What has died.

    Attributes:
        hostile: The pids of the attacker's victims.
        bystanders: The pid of each bystander, and the seconds until its line was there; None: there was none.
    """

    hostile: list[int]
    bystanders: dict[int, float | None]


def play(
    program: Path,
    cgroups: Sequence[ScratchCgroup],
    bystander: ScratchCgroup,
    kills: int,
    seen: Callable[[], Collection[int | None]],
    timeout_s: float,
) -> Scene:
    """Let the attacker's victims die in these cgroups, and a bystander beside them every half second.

    Args:
        program: As compiled.
        cgroups: In each, victims die one after the other, each in a network namespace of its own.
        bystander: Where the bystanders die.
        kills: How many of the attacker's processes die, over all cgroups.
        seen: Returns the processes that have lines.
        timeout_s: How long to wait for the bystanders' lines after the attack.
    """
    for cgroup in (*cgroups, bystander):
        cgroup.limit(LIMIT_BYTES)
    with ExitStack() as stack:
        storms = []
        for cgroup in cgroups:
            procs = str(cgroup.folder / "cgroup.procs")
            command = [str(program), "storm", str(kills // len(cgroups)), procs, str(ATTACKER)]
            storms.append(stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True)))
        scene, died_at = Scene([], {}), {}
        last = time.monotonic() - INTERVAL_S
        while any(storm.poll() is None for storm in storms) or last + timeout_s > time.monotonic():
            is_over = all(storm.poll() is not None for storm in storms)
            if not is_over and time.monotonic() >= last + INTERVAL_S:
                last = time.monotonic()
                pid = _die(program, bystander)
                died_at[pid], scene.bystanders[pid] = time.monotonic(), None
            _note(scene, died_at, seen())
            if is_over and None not in scene.bystanders.values():
                break
            time.sleep(0.01)
        for storm in storms:
            assert storm.stdout
            scene.hostile += map(int, storm.stdout)
    return scene


def _die(program: Path, cgroup: ScratchCgroup) -> int:
    enter = f"echo $$ > {cgroup.folder}/cgroup.procs && exec setpriv --reuid {BYSTANDER} {program} hog bystander"
    with subprocess.Popen(["sh", "-c", enter]) as victim:
        assert victim.wait(60) == -9, "the bystander was not killed"
    return victim.pid


def _note(scene: Scene, died_at: dict[int, float], pids: Collection[int | None]) -> None:
    now = time.monotonic()
    for pid, delay in scene.bystanders.items():
        if delay is None and pid in pids:
            scene.bystanders[pid] = now - died_at[pid]
