# SPDX-License-Identifier: Apache-2.0
"""Units of the host's systemd: started to be killed, and asked for what systemd knows of that."""

from __future__ import annotations

import pwd
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from _scenario import VICTIM, Scenario
from _tolerances import at
from support.tracer import Line

USER = 1000
"""User id of somebody who may log in, and whose containers have subordinate ids."""
MEMORY = 32 << 20
GROW = (str(VICTIM), "hog", "256")
"""One process that grows beyond every limit here as soon as it can read a byte."""
INPUT = "/dev/zero"
GROW_IN_SHELL = f"(sleep 1; exec {' '.join(GROW)} <{INPUT})"
"""The shell around it must have come to rest: after fork() its own memory grows, too."""
ORDINARY = ("choom", "-n", "0", "--")
"""Whatever a scenario starts itself inherits its oom_score_adj of -1000; systemd's services do not."""
LIMIT = (f"MemoryMax={MEMORY}", "MemorySwapMax=0")
CGROUPS = Path("/sys/fs/cgroup")
TIMEOUT_S = 60
Properties = dict[str, str]
Facts = dict[str, str | int]


def user_name() -> str:
    """Return the name of the user who may log in."""
    return pwd.getpwuid(USER).pw_name


def as_user(*command: str) -> list[str]:
    """Return a command that runs another one as that user, with the user's own systemd."""
    folder = f"/run/user/{USER}"
    environment = [f"XDG_RUNTIME_DIR={folder}", f"DBUS_SESSION_BUS_ADDRESS=unix:path={folder}/bus"]
    home = [f"HOME={pwd.getpwuid(USER).pw_dir}", f"USER={user_name()}", "PATH=/usr/bin:/bin:/usr/sbin:/sbin"]
    identity = [f"--reuid={USER}", f"--regid={USER}", "--init-groups"]
    return ["setpriv", *identity, "env", "--ignore-environment", "--chdir=/", *environment, *home, *command]


def linger() -> None:
    """Start the user's systemd, which then runs without a session."""
    subprocess.run(["loginctl", "enable-linger", user_name()], check=True)
    subprocess.run(["systemctl", "start", f"user@{USER}.service"], check=True)


def start(unit: str, command: Sequence[str], *properties: str, user: bool = False) -> None:
    """Run a command as a transient service, and return when it has started."""
    options = [f"--unit={unit}", *(f"--property={each}" for each in (f"StandardInput=file:{INPUT}", *properties))]
    manager = ["--user"] if user else []
    whole = ["systemd-run", "--quiet", *manager, *options, *command]
    subprocess.run(as_user(*whole) if user else whole, check=True)


def scope(unit: str, slice_name: str, command: Sequence[str], *properties: str) -> int:
    """Run a command in a transient scope until its end, and return its pid."""
    options = [f"--unit={unit}", f"--slice={slice_name}", *(f"--property={each}" for each in properties)]
    # systemd-run --scope executes the command in its own place
    whole = ["systemd-run", "--quiet", "--scope", *options, *ORDINARY, *command]
    with Path(INPUT).open() as source, subprocess.Popen(whole, stdin=source) as process:
        return process.pid


def show(unit: str, *, user: bool = False) -> Properties:
    """Return the properties of a unit by their names."""
    command = ["systemctl", *(["--user"] if user else []), "show", unit]
    done = subprocess.run(as_user(*command) if user else command, check=True, capture_output=True, text=True)
    return dict(row.split("=", 1) for row in done.stdout.splitlines() if "=" in row)


def ended(unit: str, *, user: bool = False) -> Properties:
    """Wait until a unit is no longer active, and return its properties."""
    deadline = time.monotonic() + TIMEOUT_S
    while (properties := show(unit, user=user))["ActiveState"] not in ("failed", "inactive"):
        if time.monotonic() > deadline:
            break
        time.sleep(0.2)
    return properties


def stop(*units: str, user: bool = False) -> None:
    """Stop units and make systemd forget that they have failed."""
    for verb in ("stop", "reset-failed"):
        command = ["systemctl", *(["--user"] if user else []), verb, *units]
        subprocess.run(as_user(*command) if user else command, check=False, stderr=subprocess.DEVNULL)


@contextmanager
def written(file: Path, text: str) -> Iterator[None]:
    """Give a file of the configuration other contents until the end of the block."""
    before = file.read_text() if file.exists() else None
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    try:
        yield
    finally:
        if before is None:
            file.unlink()
        else:
            file.write_text(before)


def set_limit(unit: str, size: int) -> None:
    """Limit the memory of a unit that need not run yet, until the next boot; bytes."""
    subprocess.run(["systemctl", "set-property", "--runtime", unit, f"MemoryMax={size}", "MemorySwapMax=0"], check=True)


def killed_below(run: Scenario, path: str, count: int = 1) -> list[int]:
    """Wait for kills in a cgroup or below it, and return the pids of the victims."""

    def below(kills: list[Line]) -> list[int]:
        found = [(at(line, "cgroup.path") or "", line["process"]["pid"]) for line in kills]
        return [pid for cgroup, pid in found if cgroup == path or cgroup.startswith(f"{path}/")]

    pids = below(run.full.wait(lambda kills: len(below(kills)) >= count))
    run.equal(f"kills below {path}", len(pids), count)
    return pids


def events(path: str) -> dict[str, int]:
    """Return the counters of memory.events of a cgroup that still exists."""
    rows = (CGROUPS / path.lstrip("/") / "memory.events").read_text().splitlines()
    return {name: int(count) for name, count in (row.split() for row in rows)}


def check_systemd(run: Scenario, line: Line, expected: Facts, limit_owner: str) -> None:
    """Compare what a line says of the unit, and of whose limit was hit."""
    facts = at(line, "systemd") or {}
    known = {name: facts.get(name) for name in ("unit", "slice", "manager", "user", "session") if name in facts}
    run.equal("systemd", known, expected)
    run.equal("limit_owner", at(line, "oom.limit_owner"), limit_owner)
