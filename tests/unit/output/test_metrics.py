# SPDX-License-Identifier: Apache-2.0
"""Metrics: what was reported is counted once, by labels that are bounded, as a file and over HTTP."""

from __future__ import annotations

import socket
import stat
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.probe_events import kill, lost
from support.receivers import wait_for
from support.sigkill_events import event, records

from ooMtrace import __version__, record
from ooMtrace.errors import SinkError
from ooMtrace.output import courier, endpoint
from ooMtrace.output.metrics import MAX_KILLERS, MAX_SERIES, Metrics
from ooMtrace.output.open import open_outputs
from ooMtrace.output.outputs import Outputs
from ooMtrace.output.url import parse_output

KILL = kill()
LIMIT = 100_000
"""Bytes in a queue that is to become full."""


def samples(text: bytes) -> dict[str, float]:
    """Return value by name and labels."""
    lines = [line for line in text.decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def in_unit(unit: str) -> record.OomKill:
    return replace(KILL, systemd=record.Systemd(unit=unit))


def test_kills_are_counted_by_what_they_are_about():
    metrics = Metrics()
    metrics.level = "reduced"
    pod = record.Kubernetes(
        namespace=record.KubernetesNamespace(name="prod"),
        pod=record.Pod(uid="1", name="web-0"),
        container=record.KubernetesContainer(name="app"),
    )
    for one in (KILL, KILL, replace(KILL, k8s=pod, dropped_before=3), in_unit('a"\\\nb'), lost(4)):
        metrics.count(one)

    assert samples(metrics.text()) == {
        'oomtrace_kills_total{scope="",verdict="killed",namespace="",container="",unit=""}': 2,
        'oomtrace_kills_total{scope="",verdict="killed",namespace="prod",container="app",unit=""}': 1,
        'oomtrace_kills_total{scope="",verdict="killed",namespace="",container="",unit="a\\"\\\\\\nb"}': 1,
        "oomtrace_ooms_without_kill_total": 0,
        "oomtrace_lost_kills_total": 4,
        "oomtrace_dropped_records_total": 3,
        "oomtrace_last_kill_timestamp_seconds": 1699999999.000001,
        'oomtrace_level{level="reduced"}': 1,
        f'oomtrace_build_info{{version="{__version__}"}}': 1,
    }


def test_only_kills_are_counted_as_kills():
    metrics = Metrics()
    metrics.count(replace(KILL, event="oom_dying"))
    metrics.count(replace(KILL, event="oom_exit"))

    assert not any(name.startswith("oomtrace_kills_total") for name in samples(metrics.text()))
    assert "oomtrace_last_kill_timestamp_seconds" not in samples(metrics.text())


def test_the_number_of_series_is_bounded_and_no_kill_is_left_out():
    metrics = Metrics()
    for number in range(MAX_SERIES + 500):
        metrics.count(in_unit(f"unit-{number}.service"))
    metrics.count(in_unit("unit-1.service"))
    kills = {name: value for name, value in samples(metrics.text()).items() if name.startswith("oomtrace_kills_total")}

    assert len(kills) == MAX_SERIES + 1
    assert sum(kills.values()) == MAX_SERIES + 501
    assert next(value for name, value in kills.items() if 'unit="_other_"' in name) == 500
    assert next(value for name, value in kills.items() if 'unit="unit-1.service"' in name) == 2


def test_other_killers_are_counted_by_name_and_their_number_is_bounded():
    metrics = Metrics()
    (base,) = records(event())
    for number in range(MAX_KILLERS + 5):
        sender = replace(base.sigkill.sender, comm=f"killer-{number}")
        metrics.count(replace(base, sigkill=replace(base.sigkill, sender=sender)))
    found = {name: value for name, value in samples(metrics.text()).items() if "sigkills" in name}

    assert found['oomtrace_sigkills_total{killer="killer-0"}'] == 1
    assert found['oomtrace_sigkills_total{killer="_other_"}'] == 5
    assert len(found) == MAX_KILLERS + 1


def test_what_only_grows_is_a_counter_and_everything_else_a_gauge():
    metrics = Metrics()
    metrics.level = "full"
    metrics.count(KILL)
    kinds = dict(line.split()[2:] for line in metrics.text().decode().splitlines() if line.startswith("# TYPE "))
    assert kinds == {name: "counter" if name.endswith("_total") else "gauge" for name in kinds}
    assert len(kinds) == 9


def test_the_textfile_is_there_from_the_start_and_is_replaced_as_a_whole(start, tmp_path):
    file, said = tmp_path / "oom.prom", list[str]()
    outputs = start(said.append, tmp_path / "lines", f"prometheus:{file}")
    wait_for(file.exists)
    assert samples(file.read_bytes())['oomtrace_level{level="full"}'] == 1
    first, inode = file.open("rb"), file.stat().st_ino
    for _ in range(300):
        outputs.put(KILL)
        outputs.flush()
    outputs.drain(60)

    (total,) = (value for name, value in samples(file.read_bytes()).items() if "kills_total{" in name)
    assert total == 300
    assert file.stat().st_ino != inode
    assert b"oomtrace_build_info" in first.read(), "a reader of the old file reads it to its end"
    first.close()
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lines", "oom.prom"]
    assert said == []


def test_a_folder_that_is_missing_is_reported_and_written_later(start, tmp_path):
    said: list[str] = []
    outputs = start(said.append, tmp_path / "lines", f"prometheus:{tmp_path}/later/oom.prom")
    outputs.put(KILL)
    wait_for(lambda: _has_said(outputs, said))
    (tmp_path / "later").mkdir()
    outputs.drain(60)

    assert "kills_total{" in (tmp_path / "later/oom.prom").read_text()
    assert said[0].startswith(f"prometheus:{tmp_path}/later/oom.prom: No such file or directory")


def test_lines_that_an_output_drops_are_counted_by_output(start, tmp_path, monkeypatch):
    monkeypatch.setattr(courier.Courier.__init__, "__defaults__", (LIMIT,))
    outputs = start([].append, tmp_path / "lines", f"unix:{tmp_path}/nobody", f"prometheus:{tmp_path}/oom.prom")
    for _ in range(1000):
        outputs.put(KILL)
        outputs.flush()
    dead = outputs._channels[1]

    assert {name: value for name, value in samples(outputs._metrics.text()).items() if "output_dropped" in name} == {
        f'oomtrace_output_dropped_lines_total{{output="{tmp_path}/lines"}}': 0,
        f'oomtrace_output_dropped_lines_total{{output="unix:{tmp_path}/nobody"}}': 1000 - dead.queue.held,
    }


def test_metrics_do_not_stand_for_lines(start, tmp_path, monkeypatch):
    """A kill whose line found no room is backfilled later, and counted then."""
    monkeypatch.setattr(courier.Courier.__init__, "__defaults__", (LIMIT,))
    outputs = start([].append, f"unix:{tmp_path}/nobody", f"prometheus:{tmp_path}/oom.prom")
    taken = sum(outputs.put(KILL) for _ in range(1000))
    assert taken < 1000
    wait_for(lambda: outputs._channels[1].empty)
    assert not outputs.empty
    text = outputs._metrics.text()

    assert next(value for name, value in samples(text).items() if "kills_total{" in name) == taken


def _has_said(outputs: Outputs, said: list[str]) -> bool:
    outputs.flush()
    return bool(said)


@pytest.fixture
def served() -> Iterator[endpoint.Endpoint]:
    metrics = Metrics()
    metrics.count(KILL)
    made = endpoint.Endpoint("metrics", "127.0.0.1", 0, metrics.text)
    made.start()
    yield made
    made.close()


def ask(served: endpoint.Endpoint, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", served.port), 30) as connection:
        connection.sendall(request)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    return answer


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", b"200 OK"),
        (b"GET /metrics?x=1 HTTP/1.0\n\n", b"200 OK"),
        (b"HEAD /metrics HTTP/1.1\r\n\r\n", b"200 OK"),
        (b"GET / HTTP/1.1\r\n\r\n", b"404 Not Found"),
        (b"POST /metrics HTTP/1.1\r\n\r\n", b"405 Method Not Allowed"),
        (b"hello\r\n\r\n", b"400 Bad Request"),
        (b"\r\n\r\n", b"400 Bad Request"),
    ],
)
def test_requests_and_answers(served, request_, status):
    head, _, body = ask(served, request_).partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 " + status)
    assert bool(body) == (not request_.startswith(b"HEAD"))
    if status == b"200 OK" and body:
        assert f"Content-Length: {len(body)}".encode() in head
        assert any("kills_total{" in name for name in samples(body))


def test_a_request_without_end_is_not_kept(served):
    with socket.create_connection(("127.0.0.1", served.port), 30) as connection:
        for _ in range(1000):
            try:
                connection.sendall(b"x" * 4096)
            except OSError:
                break
            time.sleep(0.001)
        else:
            pytest.fail("it reads for ever")


def test_silent_clients_keep_nobody_out_and_the_oldest_are_closed(monkeypatch):
    monkeypatch.setattr(endpoint, "CLIENT_S", 600)
    made = endpoint.Endpoint("metrics", "127.0.0.1", 0, Metrics().text)
    made.start()
    silent = [socket.create_connection(("127.0.0.1", made.port), 30) for _ in range(2 * endpoint.MAX_CLIENTS)]

    assert ask(made, b"GET /metrics HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 200")
    assert [connection.recv(1) for connection in silent[: endpoint.MAX_CLIENTS + 1]] == [b""] * (
        endpoint.MAX_CLIENTS + 1
    )
    for connection in silent:
        connection.close()
    made.close()


def test_a_client_has_a_limited_time(monkeypatch):
    monkeypatch.setattr(endpoint, "CLIENT_S", 0.2)
    made = endpoint.Endpoint("metrics", "127.0.0.1", 0, Metrics().text)
    made.start()
    with socket.create_connection(("127.0.0.1", made.port), 30) as connection:
        assert connection.recv(1) == b""
    made.close()


def test_without_requests_its_thread_sleeps(served):
    status = Path(f"/proc/self/task/{served._thread.native_id}/status")
    ask(served, b"GET /metrics HTTP/1.1\r\n\r\n")
    time.sleep(0.3)
    before = status.read_text().partition("voluntary_ctxt_switches:")[2]
    time.sleep(1)

    assert status.read_text().partition("voluntary_ctxt_switches:")[2] == before


def test_its_thread_ends_when_it_is_closed():
    made = endpoint.Endpoint("metrics", "127.0.0.1", 0, Metrics().text)
    made.start()
    made.close()

    assert made._thread not in threading.enumerate()


def test_an_address_that_is_in_use_is_an_error_at_the_start(served):
    url = parse_output(f"prometheus+http://127.0.0.1:{served.port}")
    with pytest.raises(SinkError, match="Address already in use; choose another address or port"):
        open_outputs([url], print)


def test_the_endpoint_listens_on_loopback_unless_another_address_is_named():
    assert parse_output("prometheus+http://:9999").host == "127.0.0.1"
    assert parse_output("prometheus+http://0.0.0.0:9999").host == "0.0.0.0"
