# SPDX-License-Identifier: Apache-2.0
"""A tracer drops every capability that it does not need, and still reports all facts."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.networks import Network
from support.tracer import RunningTracer

from ooMtrace.runtime.capabilities import Capability

NOBODY = 65534
ROOT = Path(__file__).parent.parent.parent
SECURITY = ROOT / "docs/security.md"
ALWAYS = (Capability.BPF, Capability.PERFMON, Capability.IPC_LOCK, Capability.SYSLOG)
PRIVILEGES = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs")


def status(pid: int, *names: str) -> tuple[int, ...]:
    text = Path(f"/proc/{pid}/status").read_text()
    found = dict(re.findall(r"^(\w+):\t\s*([0-9a-f]+)(?: kB)?$", text, re.MULTILINE))
    return tuple(int(found[name], 16 if name.startswith("Cap") else 10) for name in names)


def mask(*capabilities: Capability) -> int:
    return sum(1 << one for one in capabilities)


@pytest.fixture
def network() -> Iterator[Network]:
    one = Network().connect()
    try:
        yield one
    finally:
        if (Path("/run/netns") / one.name).exists():
            one.delete()


def test_a_tracer_with_files_and_networks_keeps_seven_capabilities(tracer):
    kept = mask(*ALWAYS, Capability.SYS_PTRACE, Capability.SYS_ADMIN, Capability.DAC_OVERRIDE)

    threads = [int(one.name) for one in Path(f"/proc/{tracer.process.pid}/task").iterdir()]
    assert {status(one, *PRIVILEGES) for one in threads} == {(0, kept, kept, kept, 0, 1)}


def test_with_no_network_a_tracer_keeps_fewer_capabilities(tmp_path):
    with RunningTracer(tmp_path, "--no-network") as tracer:
        kept = mask(*ALWAYS, Capability.DAC_OVERRIDE)

        assert status(tracer.process.pid, *PRIVILEGES) == (0, kept, kept, kept, 0, 1)


def test_the_retained_capabilities_suffice_for_the_addresses_of_another_users_victim(tracer, cgroup, victim, network):
    """The namespace has lost its name: it is found through /proc, and entered."""
    limited = cgroup(24)
    dying = victim("hog", limited, uid=NOBODY)
    staying = victim("hog", cgroup(), wrapper=["ip", "netns", "exec", network.name])
    joined = victim("hog", limited, wrapper=["nsenter", f"--net=/run/netns/{network.name}"])
    wait_for_program(joined.pid, staying.pid)
    network.delete()

    for one in (dying, joined):
        one.go().end()
    lines = {line["process"]["pid"]: line for line in tracer.lines_of([dying.pid, joined.pid])}

    assert lines[joined.pid]["namespace"]["addresses"] == ["198.51.100.2", "198.51.100.3", "2001:db8::2"]
    for line in lines.values():
        assert line["process"]["command_args"][1:] == ["hog", "256"]
        assert line["process"]["executable"]["path"].endswith("/victim")
        assert line["process"]["working_directory"] == str(Path.cwd())
        assert "namespace.addresses" not in line["missing"]
    assert lines[dying.pid]["process"]["user"] == {"id": NOBODY, "name": "nobody"}


def wait_for_program(*pids: int) -> None:
    for pid in pids:
        wait_until(lambda: Path(f"/proc/{pid}/comm").read_text() == "victim\n")  # noqa: B023 (called at once)


def test_the_retained_capabilities_suffice_to_reopen_a_file_in_another_users_folder(tmp_path, cgroup, victim):
    os.chown(tmp_path, NOBODY, NOBODY)
    tmp_path.chmod(0o755)
    with RunningTracer(tmp_path) as tracer:
        tracer.output.rename(tmp_path / "lines.1")
        tracer.process.send_signal(signal.SIGHUP)
        process = victim("hog", cgroup(24)).go()
        process.end()
        wait_until(tracer.output.exists)

        assert [line["process"]["pid"] for line in tracer.lines_of([process.pid])] == [process.pid]
    assert not (tmp_path / "ready").exists()


def test_an_unprivileged_user_with_four_capabilities_has_all_facts_but_the_addresses(tracer, cgroup, victim):
    """With the command of docs/security.md, beside a tracer that runs as root."""
    (block,) = re.findall(r"```sh\n(setpriv .*?)```", SECURITY.read_text(), re.DOTALL)
    python = f"/mnt/{Path(sys.prefix).relative_to(ROOT)}/bin/python -m ooMtrace"
    as_ordinary = re.sub(r"\boomtrace\b", python, block.replace("\\\n", ""))
    # the checkout may be below a folder that only root can enter
    script = f"mount --bind {ROOT} /mnt && cd / && PYTHONPATH=/mnt exec {as_ordinary}"
    command = ["unshare", "--mount", "sh", "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd="/") as ordinary:
        assert ordinary.stdout
        assert ordinary.stderr
        assert "tracing at level reduced" in ordinary.stderr.readline()
        kept = mask(*ALWAYS)
        wait_until(lambda: status(ordinary.pid, *PRIVILEGES)[:3] == (0, kept, kept))
        process = victim("hog", cgroup(24), uid=1000).go()
        process.end()
        lines = map(json.loads, ordinary.stdout)
        line = next(line for line in lines if line["process"]["pid"] == process.pid)
        ordinary.terminate()

    (of_root,) = tracer.lines_of([process.pid])
    for each in (line, of_root):  # each tracer has its own timestamp of it
        del each["oom"]["incident"]
    facts = ("oom", "process", "namespace", "cgroup", "missing", "derived")
    assert {name: line[name] for name in facts} == {name: of_root[name] for name in facts}


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_all_memory_is_locked_and_there_is_little(tracer):
    locked, resident = status(tracer.process.pid, "VmLck", "VmRSS")

    assert locked >= resident
    assert resident < 60_000
