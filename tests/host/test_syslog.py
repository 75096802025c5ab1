# SPDX-License-Identifier: Apache-2.0
"""Lines in a real rsyslog: whole, with their severity and type, over each kind of connection."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from support.certificates import Certificate, self_signed
from support.packages import LIBRARIES, environment_of, unpacked
from support.probe_events import kill, lost
from support.receivers import wait_for

from ooMtrace import record
from ooMtrace.output.encode import LINE_LIMIT, encode
from ooMtrace.output.open import open_outputs
from ooMtrace.output.shorten import RESERVE
from ooMtrace.output.url import parse_output

PACKAGES = ("rsyslog", "rsyslog-gnutls", "libestr0", "libfastjson4", "liblognorm5")
# with the line's end: rsyslog may have written only a part yet
PATTERN = re.compile(r"(\S+) (\S+) (\S+) (\S+) (\S+) (\S+) (\S+) (\{.*\})\n")
CONFIG = """
global(workDirectory="{folder}" DefaultNetstreamDriverCAFile="{cert}" DefaultNetstreamDriverCertFile="{cert}"
    DefaultNetstreamDriverKeyFile="{key}")
module(load="imuxsock" SysSock.Use="off")
module(load="imudp")
module(load="imptcp")
module(load="imtcp" StreamDriver.Name="gtls" StreamDriver.Mode="1" StreamDriver.AuthMode="anon")
input(type="imuxsock" Socket="{folder}/log" CreatePath="on" useSpecialParser="off" useSysTimeStamp="off"
    ignoreTimestamp="off")
input(type="imudp" address="127.0.0.1" port="{udp}")
input(type="imptcp" address="127.0.0.1" port="{tcp}")
input(type="imtcp" address="127.0.0.1" port="{tls}")
template(name="fields" type="string" string="%syslogfacility-text% %syslogseverity-text% %hostname% %app-name% \
%procid% %msgid% %timereported:::date-rfc3339% %msg%\\n")
action(type="omfile" file="{folder}/lines" template="fields")
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@dataclass(frozen=True)
class Rsyslog:
    folder: Path
    ports: dict[str, int]
    certificate: Certificate

    def url(self, kind: str) -> str:
        if kind == "syslog":
            return f"syslog:{self.folder}/log"
        options = f"#ca={self.certificate.cert},server-name=logs.test" if kind == "tls" else ""
        return f"syslog+{kind}://127.0.0.1:{self.ports[kind]}{options}"

    def received(self, id_: str) -> list[tuple[str, ...]]:
        file = self.folder / "lines"
        found = PATTERN.findall(file.read_text() if file.exists() else "")
        return [fields for fields in found if json.loads(fields[-1])["id"].startswith(id_)]


@pytest.fixture(scope="module")
def rsyslog(tmp_path_factory) -> Iterator[Rsyslog]:
    root, folder = unpacked(*PACKAGES), tmp_path_factory.mktemp("rsyslog")
    ports = {kind: free_port() for kind in ("udp", "tcp", "tls")}
    started = Rsyslog(folder, ports, self_signed(folder, "logs.test"))
    certificate = {"cert": started.certificate.cert, "key": started.certificate.key}
    (folder / "conf").write_text(CONFIG.format(folder=folder, **ports, **certificate))
    options = ["-n", "-f", folder / "conf", "-i", folder / "pid", "-M", root / LIBRARIES / "rsyslog"]
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            [root / "usr/sbin/rsyslogd", *options],
            env={**os.environ, **environment_of(root)},
            stdout=log,
            stderr=log,
        )
    try:
        wait_for(lambda: process.poll() is not None or (folder / "log").exists())
        assert process.poll() is None, (folder / "log.txt").read_text()
        yield started
    finally:
        process.kill()
        process.wait()


def send(url: str, *records: record.Record, seconds: float = 60) -> list[str]:
    said: list[str] = []
    outputs = open_outputs([parse_output(url)], said.append)
    outputs.start("full")
    for each in records:
        outputs.put(each)
    outputs.drain(seconds)
    outputs.close()
    outputs.flush()
    return said


def kills(id_: str, count: int) -> list[record.OomKill]:
    base = kill()
    command = ("a\nb", *("\xe9" * 50 for _ in range(100)))
    return [
        replace(base, id=f"{id_}-{n}", seq=n, process=replace(base.process, command_args=command))
        for n in range(1, count + 1)
    ]


@pytest.mark.parametrize("kind", ["syslog", "udp", "tcp", "tls"])
def test_lines_arrive_whole_in_order_and_with_their_severity(rsyslog, kind):
    # of datagrams only as many as the socket has room for: the receiver may not run meanwhile, and nobody notices
    sent = kills(kind, 6 if kind == "udp" else 30)
    whole = replace(sent[-1], id=f"{kind}-global", oom=replace(sent[-1].oom, scope="global"))
    loss = replace(lost(), id=f"{kind}-loss")
    assert send(rsyslog.url(kind), *sent, whole, loss) == []
    wait_for(lambda: len(rsyslog.received(kind)) == len(sent) + 2)

    *found, last, lost_line = rsyslog.received(kind)
    assert [json.loads(fields[-1]) for fields in found] == [json.loads(encode(one)) for one in sent]
    assert {fields[:4] for fields in found} == {("daemon", "err", "host", "oomtrace")}
    assert {(fields[4], fields[5]) for fields in found} == {(str(os.getpid()), "oom_kill")}
    assert found[0][6].replace("+00:00", "Z") == sent[0].time
    assert (last[1], lost_line[1], lost_line[5]) == ("crit", "warning", "oom_lost")


def test_the_longest_line_arrives_whole(rsyslog):
    base = kill()
    long = replace(base, process=replace(base.process, command_args=tuple("x" * 97 for _ in range(70))))
    assert LINE_LIMIT - RESERVE - 200 < len(encode(long)) <= LINE_LIMIT - RESERVE
    for kind in ("syslog", "udp", "tcp", "tls"):
        send(rsyslog.url(kind), replace(long, id=f"longest-{kind}"))
        wait_for(lambda kind=kind: len(rsyslog.received(f"longest-{kind}")) == 1)  # type: ignore[misc]


def test_the_facility_is_the_one_that_was_chosen(rsyslog):
    send(f"{rsyslog.url('tcp')}#facility=local3", *kills("facility", 1))
    wait_for(lambda: bool(rsyslog.received("facility")))

    assert rsyslog.received("facility")[0][0] == "local3"


@pytest.mark.parametrize("wrong", ["authority", "name"])
def test_a_wrong_certificate_is_refused_and_nothing_is_sent(rsyslog, tmp_path, wrong):
    other = self_signed(tmp_path, "logs.test")
    options = {
        "authority": f"ca={other.cert},server-name=logs.test",
        "name": f"ca={rsyslog.certificate.cert},server-name=other.test",
    }
    port = rsyslog.ports["tls"]
    (said, *more) = send(f"syslog+tls://127.0.0.1:{port}#{options[wrong]}", *kills(f"refused-{wrong}", 3), seconds=1)

    reason = {
        "authority": "self-signed certificate",
        "name": "Hostname mismatch, certificate is not valid for 'other.test'",
    }
    assert said == (
        f"syslog+tls://127.0.0.1:{port}: the certificate is refused ({reason[wrong]}), nothing was sent;"
        " lines are kept in memory until it takes them"
    )
    assert more == []
    send(rsyslog.url("tls"), *kills(f"accepted-{wrong}", 1))
    wait_for(lambda: bool(rsyslog.received(f"accepted-{wrong}")))
    assert rsyslog.received("refused") == []
