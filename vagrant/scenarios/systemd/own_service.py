# SPDX-License-Identifier: Apache-2.0
"""oomtrace as a service: a line in the journal and in a file, reload, SIGKILL and watchdog, and no kill is missed."""

import json
import os
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from _scenario import scenario
from _units import GROW, LIMIT, Properties, ended, show, start, stop, written
from support.tracer import Line, parsed

DEPLOY = Path("/payload/deploy")
SERVICE = "oomtrace.service"
UNIT, CONFIG = Path("/etc/systemd/system", SERVICE), Path("/etc/oomtrace.toml")
COMMAND, INSTALLED = Path("/usr/local/bin/oomtrace"), Path("/opt/oomtrace/bin/oomtrace")
DROP_IN = Path("/run/systemd/system/oomtrace.service.d/scenario.conf")
FIRST = "[Service]\nTimeoutStartSec=infinity\nWatchdogSec=20s\nGroup=adm\n"
"""A shorter period of the watchdog, time for an emulated CPU to start, and a group that may read the lines."""
LOG, ROTATED = Path("/var/log/oomtrace/oomtrace.log"), Path("/var/log/oomtrace/oomtrace.log.1")
FILE = f'output = "{LOG}"\n'
TIMEOUT_S = 120


def wait(fact: Callable[[], object]) -> bool:
    """Wait for a fact, up to a timeout, and return whether it is so."""
    deadline = time.monotonic() + TIMEOUT_S
    while not fact():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def journal() -> list[str]:
    """Return what the service has written to the journal: lines and messages."""
    command = ["journalctl", "--unit", SERVICE, "--output=cat", "--no-pager", "--quiet"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


def in_journal(pid: int) -> list[Line]:
    return of(pid, [json.loads(text) for text in journal() if text.startswith("{")])


def in_files(pid: int) -> list[Line]:
    return of(pid, [line for file in (LOG, ROTATED) if file.exists() for line in parsed(file.read_bytes())])


def of(pid: int, lines: list[Line]) -> list[Line]:
    return [line for line in lines if line["event"] == "oom_kill" and line["process"]["pid"] == pid]


def kill(name: str) -> int:
    """Let a service exceed its limit, and return the pid of its process."""
    unit = f"oomtrace-{name}.service"
    start(unit, GROW, *LIMIT)
    pid = int(ended(unit)["ExecMainPID"])
    stop(unit)
    return pid


def control(*arguments: str) -> None:
    subprocess.run(["systemctl", *arguments, SERVICE], check=True)


def status() -> Properties:
    return show(SERVICE)


def is_running_again(pid: str) -> bool:
    """Say whether another process is the service's now, and is ready."""
    found = status()
    return found["ActiveState"] == "active" and found["MainPID"] not in ("0", pid)


def send(number: signal.Signals) -> str:
    """Send the service's process a signal, and return its pid."""
    pid = status()["MainPID"]
    os.kill(int(pid), number)
    return pid


with scenario() as run, written(DROP_IN, FIRST):
    COMMAND.symlink_to(INSTALLED)
    shutil.copy(DEPLOY / "systemd" / SERVICE, UNIT)
    CONFIG.write_text((DEPLOY / "oomtrace.toml").read_text())
    CONFIG.chmod(0o644)
    subprocess.run(["systemctl", "daemon-reload"], check=True)
    began = time.monotonic()
    control("enable", "--now")  # returns when it is ready
    print(f"ready after {time.monotonic() - began:.1f} s", flush=True)
    first = status()
    run.equal(
        "state", (first["ActiveState"], first["SubState"], first["UnitFileState"]), ("active", "running", "enabled")
    )
    run.equal("status", first["StatusText"], "level full; 0 kills reported, 0 lost")
    run.equal("never killed", Path(f"/proc/{first['MainPID']}/oom_score_adj").read_text(), "-1000\n")

    # stdout is the journal
    journaled = kill("journaled")
    run.true("its line is in the journal", wait(lambda: in_journal(journaled)))
    counted = "level full; 1 kill reported, 0 lost"
    run.true("it is in the status", wait(lambda: status()["StatusText"] == counted))
    print("messages:", [text for text in journal() if text.startswith("oomtrace:")], flush=True)

    # a reload names what takes a restart, and applies the rest
    CONFIG.write_text(f'{FILE}service = ["7000=redis"]\n')
    control("reload")
    for said in ("changed: service", "restart oomtrace for the changes of: output"):
        run.true(f"said: {said}", wait(lambda: any(text.endswith(said) for text in journal())))  # noqa: B023
    run.equal("the same process", status()["MainPID"], first["MainPID"])
    CONFIG.write_text("levle = 1\n")
    control("reload")
    said = "did you mean level?; the options that were read before stay in effect"
    run.true("a mistake changes nothing", wait(lambda: any(text.endswith(said) for text in journal())))
    run.equal("after all reloads", status()["ActiveState"], "active")

    # SIGKILL: kills before it runs again are reported by the next one, which writes to a file
    CONFIG.write_text(FILE)
    before = send(signal.SIGKILL)
    run.true("it is gone", wait(lambda: status()["MainPID"] != before))
    unwatched = kill("unwatched")
    run.true("it is restarted", wait(lambda: is_running_again(before)))
    run.equal("its level", status()["StatusText"].split(";")[0], "level full")
    run.true("the kill in between is in the file", wait(lambda: in_files(unwatched)))
    run.equal("who may read the file", (stat.filemode(LOG.stat().st_mode), LOG.group()), ("-rw-r-----", "adm"))

    # what is written before the file is reopened is in the renamed one
    LOG.rename(ROTATED)
    filed = kill("filed")
    run.true("its line is in the renamed file", wait(lambda: in_files(filed)))
    subprocess.run(["systemctl", "kill", "--kill-who=main", "--signal=HUP", SERVICE], check=True)
    run.true("the file is reopened", wait(LOG.exists))

    # the watchdog: a process that hangs is killed, and restarted
    before = send(signal.SIGSTOP)
    hung = kill("hung")
    run.true("the watchdog acts", wait(lambda: is_running_again(before)))
    run.true("the kill meanwhile is in the file", wait(lambda: in_files(hung)))
    run.equal("restarts", status()["NRestarts"], "2")

    time.sleep(2)  # for lines that should not come
    pids = (journaled, unwatched, filed, hung)
    run.equal("lines in the journal", [len(in_journal(pid)) for pid in pids], [1, 0, 0, 0])
    run.equal("lines in the files", [len(in_files(pid)) for pid in pids], [0, 1, 1, 1])
    levels = [line["fidelity"] for line in (*in_journal(journaled), *in_files(unwatched), *in_files(filed))]
    run.equal("levels: one kill was read from the kernel log", levels, ["full", "log", "full"])

    control("disable", "--now")
    last = status()
    run.equal("stopped", (last["ActiveState"], last["Result"]), ("inactive", "success"))
    for file in (COMMAND, UNIT, CONFIG):
        file.unlink()
    subprocess.run(["systemctl", "daemon-reload"], check=True)
    run.kills(pids)
