# SPDX-License-Identifier: Apache-2.0
"""Lines in a real journal, read back by journalctl with field matches."""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from support.packages import program as debian_program
from support.probe_events import kill, lost
from support.receivers import wait_for
from support.recipes import environment
from support.tracer import COMMAND

from ooMtrace import record
from ooMtrace.output.courier import Courier
from ooMtrace.output.encode import encode
from ooMtrace.output.journald import MESSAGE_IDS, Journal
from ooMtrace.output.open import open_outputs
from ooMtrace.output.url import parse_output
from ooMtrace.output.wake import Wake
from ooMtrace.record import Record

# Not the machine's own: neither its files nor the kernel's log and audit messages.
START = """
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/journald.conf.d
for setting in '[Journal]' Storage=volatile Audit=no ReadKMsg=no RateLimitBurst=0; do
    echo "$setting"
done >/run/systemd/journald.conf.d/test.conf
echo 0123456789abcdef0123456789abcdef >/run/machine-id
mount --bind /run/machine-id /etc/machine-id
exec "$0"
"""


@dataclass(frozen=True)
class Journald:
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"journald:/proc/{self.process.pid}/root/run/systemd/journal/socket"

    def read(self, *matches: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.journalctl("-o", "json", "--all", *matches).splitlines()]

    def journalctl(self, *arguments: str) -> str:
        path, more = debian_program("/usr/bin/journalctl", "systemd")
        folder = f"/proc/{self.process.pid}/root/run/log/journal"
        command: list[str | Path] = [path, "-D", folder, "-q", *arguments]
        done = subprocess.run(command, env={**os.environ, **more}, capture_output=True, text=True, check=False)
        return done.stdout


@pytest.fixture(scope="module")
def journald(tmp_path_factory) -> Iterator[Journald]:
    path, more = debian_program("/lib/systemd/systemd-journald", "systemd")
    log = tmp_path_factory.mktemp("journald") / "log"
    with log.open("wb") as messages:
        process = subprocess.Popen(
            ["unshare", "--mount", "sh", "-euc", START, path],
            env={**os.environ, **more},
            stdout=messages,
            stderr=messages,
        )
    try:
        started = Journald(process)
        socket_ = Path(started.url.partition(":")[2])
        wait_for(lambda: process.poll() is not None or socket_.exists())
        assert process.poll() is None, log.read_text()
        yield started
    finally:
        process.kill()
        process.wait()


def send(journald: Journald, *records: Record) -> None:
    outputs = open_outputs([parse_output(journald.url)], pytest.fail)
    outputs.start("full")
    for each in records:
        outputs.put(each)
    outputs.drain(60)
    outputs.check_all_written(0)
    outputs.close()


def identified(number: int, scope: record.Scope = "memcg", unit: str = "sidekiq.service") -> record.OomKill:
    base = kill(id=f"journal-{number}", seq=number)
    return replace(
        base,
        oom=replace(base.oom, scope=scope),
        systemd=record.Systemd(unit=unit, manager="system"),
        container=record.Container(id="ab" * 32, name="worker"),
        k8s=record.Kubernetes(
            namespace=record.KubernetesNamespace(name="prod"), pod=record.Pod(uid="1-2", name="web-0"), qos="burstable"
        ),
        process=replace(base.process, comm="a\nb=\xe9"),
    )


def test_lines_are_found_by_their_fields(journald):
    send(
        journald,
        *(identified(n) for n in range(20)),
        identified(20, "global"),
        identified(21, unit="x.service"),
        lost(),
    )
    wait_for(lambda: len(journald.read("SYSLOG_IDENTIFIER=oomtrace")) == 23)

    mine = journald.read("OOMTRACE_VERDICT=killed", "OOMTRACE_SCOPE=memcg", "OOMTRACE_UNIT=sidekiq.service")
    assert [entry["OOMTRACE_ID"] for entry in mine] == [f"journal-{n}" for n in range(20)]
    assert len(journald.read("OOMTRACE_POD=web-0", "OOMTRACE_CONTAINER=worker", "OOMTRACE_NAMESPACE=prod")) == 22
    assert [entry["PRIORITY"] for entry in journald.read("OOMTRACE_SCOPE=global")] == ["2"]
    assert {entry["PRIORITY"] for entry in mine} == {"3"}
    (loss,) = journald.read(f"MESSAGE_ID={MESSAGE_IDS['oom_lost']}")
    assert loss["PRIORITY"] == "4"
    assert "OOMTRACE_VERDICT" not in loss


def test_a_line_in_the_journal_is_whole(journald):
    sent = identified(100)
    send(journald, sent)
    wait_for(lambda: bool(journald.read("OOMTRACE_ID=journal-100")))
    (entry,) = journald.read("OOMTRACE_ID=journal-100")

    assert json.loads(entry["OOMTRACE_JSON"]) == json.loads(encode(sent))
    assert entry["MESSAGE"] == sent.message
    assert entry["OOMTRACE_COMM"] == "a\nb=\xe9"


def test_journalctl_of_a_unit_shows_its_kills(journald):
    of_user = identified(201, unit="web.service")
    of_user = replace(of_user, systemd=record.Systemd(unit="web.service", manager="user"))
    send(journald, identified(200, unit="web.service"), of_user)
    wait_for(lambda: bool(journald.read("-u", "web.service")))

    assert [entry["OOMTRACE_ID"] for entry in journald.read("-u", "web.service")] == ["journal-200"]


FOUND = {
    "OOMTRACE_EVENT=oom_kill --since -1h": {"postgres", "redis-server", "worker"},
    "OOMTRACE_COMM=postgres OOMTRACE_COMM=redis-server": {"postgres", "redis-server"},
    "OOMTRACE_NAMESPACE=prod OOMTRACE_POD=web-0 -o cat": {"postgres", "worker"},
    "OOMTRACE_SCOPE=memcg OOMTRACE_UNIT=sidekiq.service -o cat": {"worker"},
    "-u sidekiq.service": {"worker"},
    "SYSLOG_IDENTIFIER=oomtrace OOMTRACE_EVENT=oom_lost": {"lost"},
    "SYSLOG_IDENTIFIER=oomtrace -p crit": {"redis-server"},
    "OOMTRACE_EVENT=oom_kill -o cat --output-fields=OOMTRACE_JSON | jq -r .process.comm": {
        "postgres",
        "redis-server",
        "worker",
    },
    "OOMTRACE_EVENT=oom_kill -o json --all | jq -r '.OOMTRACE_JSON | fromjson | .process.comm'": {
        "postgres",
        "redis-server",
        "worker",
    },
}
"""Arguments of the examples in docs/recipes.md, and which of the lines below they find."""


def test_the_documented_examples_find_the_lines_that_they_name(journald):
    page = (Path(__file__).parents[2] / "docs/recipes.md").read_text()
    assert re.findall(r"^journalctl (.*)$", page, re.MULTILINE) == list(FOUND)

    def recipe(comm: str, scope: record.Scope, unit: str, **changes: Any) -> record.OomKill:
        line = replace(identified(300, scope, unit), id=f"recipe-{comm}", message=f"recipe of {comm}", **changes)
        # longer than what journalctl shows of a field without --all
        return replace(line, process=replace(line.process, comm=comm, command_args=("x" * 99,) * 50))

    send(
        journald,
        recipe("postgres", "memcg", "postgresql.service"),
        recipe("redis-server", "global", "redis.service", k8s=None),
        recipe("worker", "memcg", "sidekiq.service"),
        replace(lost(), id="recipe-lost", message="recipe of lost"),
    )
    wait_for(lambda: bool(journald.read("OOMTRACE_ID=recipe-lost")))
    for arguments, found in FOUND.items():
        options, _, filter_ = arguments.partition(" | jq -r ")
        printed = journald.journalctl(*shlex.split(options))
        if filter_:
            command = ["jq", "-r", *shlex.split(filter_)]
            done = subprocess.run(command, input=printed, env=environment(), capture_output=True, text=True, check=True)
            assert found <= set(done.stdout.splitlines()), arguments
        else:
            assert set(re.findall(r"recipe of (\S+)$", printed, re.MULTILINE)) == found, arguments


def test_what_is_too_large_for_a_datagram_is_a_sealed_memory_file(journald):
    """A line is at most 8,000 bytes; a smaller buffer stands for a larger line."""
    journal = Journal("journald", journald.url.partition(":")[2])
    journal.connect()
    assert journal._socket is not None
    journal._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4608)
    said: list[str] = []
    wake = Wake()
    courier = Courier(journal, said.append, wake)
    text = "x" * 300_000
    courier.put(f"MESSAGE={text}\nOOMTRACE_ID=large\n".encode())
    wait_for(lambda: not courier.held)
    courier.close()
    os.close(wake.fd)
    wait_for(lambda: bool(journald.read("OOMTRACE_ID=large")))

    assert journald.read("OOMTRACE_ID=large")[0]["MESSAGE"] == text
    assert said == []


def test_a_real_kill_is_in_the_journal(journald):
    def kills() -> list[dict[str, Any]]:
        """Return the demo's; its interpreter is called `python`, `python3` or `python3.11`, as pip has written."""
        found = journald.read(f"MESSAGE_ID={MESSAGE_IDS['oom_kill']}")
        return [entry for entry in found if re.fullmatch(r"python[\d.]*", entry["OOMTRACE_COMM"])]

    done = subprocess.run([COMMAND, "demo", "--output", journald.url], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    wait_for(lambda: bool(kills()))

    (entry,) = kills()
    assert entry["OOMTRACE_SCOPE"] == "memcg"
    assert json.loads(entry["OOMTRACE_JSON"])["process"]["pid"] == int(entry["OOMTRACE_PID"])
    assert abs(int(entry["__REALTIME_TIMESTAMP"]) / 1e6 - time.time()) < 600
