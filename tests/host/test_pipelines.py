# SPDX-License-Identifier: Apache-2.0
"""The examples in deploy/pipeline, run: what is held in the end equals what was sent, with its types."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.debian import Tree
from support.packages import environment_of, unpacked
from support.pipelines import (
    FOLDER,
    KCAT,
    append,
    example,
    free_port,
    lines_in,
    rsyslogd,
    send,
    sent_lines,
    sent_records,
    started,
    syslog_ng,
)
from support.probe_events import HOST, kill
from support.receivers import wait_for
from support.recipes import dump
from support.roots import Recipe, root

from ooMtrace.output.encode import encode

LONG = bool(os.environ.get("OOMTRACE_PIPELINE"))
LOG, FLEET = "/var/log/oomtrace/oomtrace.log", "/var/log/fleet"


def rsyslog_server(folder: Path, port: int, **changes: str) -> str:
    return example(
        "rsyslog/server.conf", {'port="601"': f'address="127.0.0.1" port="{port}"', FLEET: folder, **changes}
    )


def syslog_ng_server(folder: Path, port: int) -> str:
    changes = {'ip("0.0.0.0") port(601)': f'ip("127.0.0.1") port({port})', FLEET: folder}
    return example("syslog-ng/oomtrace.conf", changes)


def rsyslog_file(log: Path, port: int) -> str:
    changes = {LOG: log, "logs.example": "127.0.0.1", 'port="601"': f'port="{port}"', 'Interval="10"': 'Interval="1"'}
    return example("rsyslog/file.conf", changes)


@pytest.mark.parametrize("template", ["%msg%", "%$!all-json%"])
def test_rsyslog_reads_the_file_and_the_server_holds_the_same_lines(template, tmp_path):
    """Also if mmjsonparse has parsed them, and they are written from what it understood."""
    port, log, sent = free_port(), tmp_path / "oomtrace.log", sent_lines()
    append(log, sent)
    server = rsyslog_server(tmp_path, port, **{'string="%msg%': f'string="{template}'})
    with (
        rsyslogd(tmp_path, "server", server, port),
        rsyslogd(tmp_path, "host", rsyslog_file(log, port)),
    ):
        held = tmp_path / "node1.log"
        wait_for(lambda: len(lines_in(held)) >= len(sent))

    assert lines_in(held) == sent


def test_rsyslog_follows_the_file_over_its_rotation(tmp_path):
    """What was written before the renaming is read after it; what is written in between, see below."""
    port, log, held = free_port(), tmp_path / "oomtrace.log", tmp_path / "node1.log"
    sent = [{**line, "id": f"{turn}-{line['id']}"} for turn in range(3) for line in sent_lines()]
    size = len(sent) // 3
    log.touch()
    with (
        rsyslogd(tmp_path, "server", rsyslog_server(tmp_path, port), port),
        rsyslogd(tmp_path, "host", rsyslog_file(log, port)),
    ):
        for end in (size, 2 * size, 3 * size):
            append(log, sent[end - size : end - 1])
            # it has opened the new file; logrotate does not come twice within a polling interval
            wait_for(lambda end=end: len(lines_in(held)) >= end - 1)  # type: ignore[misc]
            append(log, sent[end - 1 : end])
            log.rename(tmp_path / f"oomtrace.log.{end}")
            log.touch()
        wait_for(lambda: len(lines_in(held)) >= len(sent))

    assert lines_in(held) == sent


@pytest.mark.skipif(not LONG, reason="a measurement: make test-pipeline")
@pytest.mark.parametrize("mode", ["polling", "inotify"])
def test_what_rsyslog_misses_between_the_renaming_and_the_reopening_is_measured(mode, tmp_path):
    rotations, before, between = 15, 200, 20
    port, log, held = free_port(), tmp_path / "oomtrace.log", tmp_path / "node1.log"
    (line, *_) = sent_lines()
    config = rsyslog_file(log, port).replace('mode="polling"', f'mode="{mode}"')
    log.touch()
    with (
        rsyslogd(tmp_path, "server", rsyslog_server(tmp_path, port), port),
        rsyslogd(tmp_path, "host", config),
    ):
        opened = log.open("ab", buffering=0)
        for turn in range(rotations):
            for number in range(before + between):
                if number == before:
                    log.rename(tmp_path / f"oomtrace.log.{rotations - turn}")
                    log.touch()
                opened.write(dump([{**line, "id": f"{turn}-{number}"}]).encode())
                time.sleep(0.0005)
            opened.close()
            opened = log.open("ab", buffering=0)
            time.sleep(2)
        opened.close()
        time.sleep(5)
    found = {line["id"] for line in lines_in(held)}
    missed = rotations * (before + between) - len(found)
    print(f"\n{mode}: {missed} of {rotations * between} lines missed that were written in between")
    assert mode == "inotify" or missed <= rotations * between // 5


def test_rsyslog_gives_a_message_the_severity_and_the_time_of_its_event(tmp_path):
    death, loss = (next(line for line in sent_lines() if line["event"] == event) for event in ("oom_kill", "oom_lost"))
    whole = {**death, "oom": {**death["oom"], "scope": "global"}}
    exit_ = {**death, "event": "oom_exit", "severity": "INFO"}
    log, port = tmp_path / "oomtrace.log", free_port()
    append(log, [death, whole, loss, exit_])
    fields = "%hostname% %app-name% %msgid% %syslogfacility-text%.%syslogseverity-text% %timereported:::date-rfc3339%"
    server = rsyslog_server(tmp_path, port, **{'string="%msg%': f'string="{fields}'})
    with rsyslogd(tmp_path, "server", server, port), rsyslogd(tmp_path, "host", rsyslog_file(log, port)):
        held = tmp_path / "node1.log"
        wait_for(lambda: held.exists() and held.read_text().count("\n") == 4)

    assert held.read_text().replace("+00:00", "Z").splitlines() == [
        f"node1 oomtrace oom_kill daemon.err {death['time']}",
        f"node1 oomtrace oom_kill daemon.crit {death['time']}",
        f"node1 oomtrace oom_lost daemon.warning {loss['observed']}",
        f"node1 oomtrace oom_exit daemon.info {death['time']}",
    ]


def test_rsyslog_receives_what_oomtrace_itself_sends(tmp_path):
    port, sent = free_port(), sent_records()
    with rsyslogd(tmp_path, "server", rsyslog_server(tmp_path, port), port):
        send(f"syslog+tcp://127.0.0.1:{port}", *sent)
        wait_for(lambda: len(lines_in(tmp_path / "host.log")) >= len(sent))

    assert lines_in(tmp_path / "host.log") == [json.loads(encode(each)) for each in sent]


def test_syslog_ng_holds_the_lines_that_oomtrace_sends_and_filters_by_their_fields(tmp_path):
    port, sent = free_port(), sent_records()
    with syslog_ng(tmp_path, syslog_ng_server(tmp_path, port), port):
        send(f"syslog+tcp://127.0.0.1:{port}", *sent)
        wait_for(lambda: len(lines_in(tmp_path / "host.log")) >= len(sent))
        wait_for((tmp_path.with_name(f"{tmp_path.name}-global.log")).exists)

    held = [json.loads(encode(each)) for each in sent]
    assert lines_in(tmp_path / "host.log") == held
    whole = [line for line in held if line["event"] == "oom_kill" and line["oom"].get("scope") == "global"]
    assert lines_in(tmp_path.with_name(f"{tmp_path.name}-global.log")) == whole


@pytest.mark.parametrize("server", ["rsyslog", "syslog-ng"])
def test_a_host_name_cannot_lead_out_of_the_folder(server, tmp_path):
    """Any sender that reaches the port can send any name."""
    port, folder = free_port(), tmp_path / "a/b"
    folder.mkdir(parents=True)
    names = ["../up", f"..{tmp_path}/absolute", "/../../up", "..", "sub/dir", ""]
    sent = [replace(kill(id=f"forged-{name}"), host=replace(HOST, name=name)) for name in names]
    last = kill(host=replace(HOST, name="last"))
    if server == "rsyslog":
        running = rsyslogd(tmp_path, "server", rsyslog_server(folder, port), port)
    else:
        running = syslog_ng(tmp_path, syslog_ng_server(folder, port), port)
    before = {str(path) for path in tmp_path.parent.rglob("*.log")}
    with running:
        send(f"syslog+tcp://127.0.0.1:{port}", *sent, last)
        wait_for((folder / "last.log").exists)

    made = {str(path) for path in tmp_path.parent.rglob("*.log")} - before
    assert {path for path in made if Path(path).parent != folder} == set()


def test_every_line_is_a_message_in_kafka_at_once(tmp_path):
    """librdkafka, which kcat uses, has brokers of its own for tests."""
    sent = sent_lines()
    append(tmp_path / "lines", sent)
    # the script starts this in place of the tracer, and it does not end
    (tmp_path / "oomtrace").write_text(f"#!/bin/sh\ncat {tmp_path}/lines\nexec sleep 60\n")
    (tmp_path / "oomtrace").chmod(0o755)
    kcat = unpacked(*KCAT)
    path = {"PATH": f"{tmp_path}:{kcat / 'usr/bin'}:{os.environ['PATH']}", **environment_of(kcat)}
    consume = ["-C", "-u", "-b", "mock", "-X", "test.mock.num.brokers=2", "-t", "oomtrace", "-f", r"%k %s\n"]
    held = tmp_path / "consumer.txt"
    with started(held, kcat / "usr/bin/kcat", *consume, env=path) as consumer:
        wait_for(lambda: consumer.poll() is not None or "replaced with" in held.read_text())
        (brokers,) = re.findall(r"replaced with (\S+)$", held.read_text(), re.MULTILINE)
        with started(tmp_path / "log", FOLDER / "kafka/oomtrace-to-kafka", brokers, "oomtrace", env=path) as script:
            key = f"{os.uname().nodename} "
            wait_for(lambda: held.read_text().count(f"\n{key}") >= len(sent))
            children = Path(f"/proc/{script.pid}/task/{script.pid}/children").read_text().split()
        for pid in children:
            os.kill(int(pid), signal.SIGKILL)

    lines = [line.removeprefix(key) for line in held.read_text().splitlines() if line.startswith(key)]
    assert [json.loads(line) for line in lines] == sent


VRL = """
import json, sys
sys.path.insert(0, sys.argv[1])
import vector_vrl
source, config, *lines = map(json.loads, sys.stdin)
check = vector_vrl.validate_config(config)
events = [json.dumps({"message": line, "file": "/var/log/oomtrace/oomtrace.log", "host": "shipper"}) for line in lines]
print(json.dumps([repr(check), vector_vrl.execute_vrl(source, events)]))
"""
WHEEL = "vector-vrl==1.0.7"
"""Vector's compiler and runtime of VRL; for Python 3.12 and later."""


def run_vrl(folder: Path, *input_: object) -> Any:
    """Run VRL on texts, in Python 3.13 of Debian 13; return the report about the configuration, and the events."""
    wheel = folder / "wheel"
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    subprocess.run([*download, "--python-version=3.13", "--dest", wheel, WHEEL], check=True)
    (archive,) = wheel.glob("*.whl")
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(folder / "modules")
    (folder / "run.py").write_text(VRL)
    tree = Tree(root("oomtrace-vrl", Recipe("trixie", "essential", ("python3",))), folder)
    text = "".join(json.dumps(each) + "\n" for each in input_)
    command = ("python3", "/srv/run.py", "/srv/modules")
    with tree.start(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        printed, _ = process.communicate(text)
    assert process.returncode == 0
    return json.loads(printed)


@pytest.mark.skipif(not LONG, reason="builds a tree of Debian 13: make test-pipeline")
def test_the_vrl_keeps_all_facts_with_their_types_and_sets_the_time(tmp_path):
    sent = sent_lines() * 30
    config = yaml.safe_load((FOLDER / "vector/vector.yaml").read_text())
    strange = [
        "",
        "x",
        "[1]",
        '{"schema": "other/1"}',
        '{"schema": "oomtrace/1"}',
        '{"schema": "oomtrace/1", "time": 7}',
    ]
    source = config["transforms"]["oomtrace_lines"]["source"]
    check, events = run_vrl(tmp_path, source, config, *(dump([line]).strip() for line in sent), *strange)

    assert "name='oomtrace_lines', ok=True" in check
    assert "skipped=()" in check
    for line, event in zip(sent, events, strict=False):
        at = event.pop("timestamp")
        # what is nested comes back as JSON
        found = {
            name: json.loads(text) if isinstance(line[name], (dict, list)) else text for name, text in event.items()
        }
        # as text, because in Python 1 equals True and 1.0
        assert json.dumps(found, sort_keys=True) == json.dumps(line, sort_keys=True)
        assert datetime.fromisoformat(at.replace(" UTC", "+00:00")) == datetime.fromisoformat(
            (line.get("time") or line["observed"]).replace("Z", "+00:00")
        )
    assert len(events) == len(sent) + len(strange)
    assert all("error" in event for event in events[len(sent) :])
