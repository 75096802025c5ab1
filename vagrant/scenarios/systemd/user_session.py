# SPDX-License-Identifier: Apache-2.0
"""A user's processes: in a login session, in a service of the user's own systemd, and in that systemd's scope."""

import subprocess

from _scenario import scenario
from _tolerances import at
from _units import (
    GROW,
    GROW_IN_SHELL,
    LIMIT,
    MEMORY,
    ORDINARY,
    USER,
    Facts,
    check_systemd,
    ended,
    killed_below,
    linger,
    set_limit,
    start,
    stop,
    user_name,
)

SLICE = f"user-{USER}.slice"
BELOW = f"/user.slice/{SLICE}"
MANAGER = f"{BELOW}/user@{USER}.service"
OWN, OTHER = "oomtrace-own.service", "oomtrace-other.service"
# the session's name, from its own cgroup
LOGIN = f"cat /proc/self/cgroup; {GROW_IN_SHELL}; echo $?"

with scenario() as run:
    linger()
    try:
        start(OWN, GROW, *LIMIT, user=True)
        own = ended(OWN, user=True)
        set_limit(f"user@{USER}.service", 64 << 20)
        start(OTHER, GROW, user=True)
        other = ended(OTHER, user=True)
        set_limit(SLICE, 80 << 20)
        said = subprocess.run(
            [*ORDINARY, "su", "--login", user_name(), "--command", LOGIN], check=True, capture_output=True, text=True
        )
        path, status = said.stdout.split()
    finally:
        stop(OWN, OTHER, user=True)
        subprocess.run(["systemctl", "revert", SLICE, f"user@{USER}.service"], check=False)
    path = path.removeprefix("0::")
    (session,) = killed_below(run, path)
    lines = run.kills([int(own["ExecMainPID"]), int(other["ExecMainPID"]), session])
    run.equal("status of the session's process", status, "137")
    run.equal("what the user's systemd says", (own["Result"], other["Result"]), ("oom-kill", "oom-kill"))

    user: Facts = {"manager": "user", "user": USER, "slice": "app.slice"}
    check_systemd(run, lines[0], {"unit": OWN, **user}, "unit")
    run.equal("path", at(lines[0], "cgroup.path"), f"{MANAGER}/app.slice/{OWN}")
    run.equal("limit", at(lines[0], "oom.memcg.limit"), MEMORY)
    check_systemd(run, lines[1], {"unit": OTHER, **user}, "unit")
    run.equal("the manager's limit", at(lines[1], "oom.memcg.path"), MANAGER)
    name = path.rpartition("/")[2]
    number = name.removeprefix("session-").removesuffix(".scope")
    expected: Facts = {"unit": name, "slice": SLICE, "manager": "system", "user": USER, "session": number}
    check_systemd(run, lines[2], expected, "slice")
    run.equal("the user's limit", at(lines[2], "oom.memcg.path"), BELOW)
    for line in lines:
        run.equal("user", at(line, "process.user"), {"id": USER, "name": user_name()})
