# SPDX-License-Identifier: Apache-2.0
"""Webhooks and OTLP over HTTP: what is sent, what is retried, what is refused, and what is never shown."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from support.certificates import self_signed
from support.probe_events import kill, lost
from support.receivers import wait_for
from support.web import Server

from ooMtrace import __version__, record
from ooMtrace.errors import SinkError, UsageError
from ooMtrace.output.encode import encode
from ooMtrace.output.lines import Lines
from ooMtrace.output.open import open_outputs
from ooMtrace.output.otlp import export_request, log_record
from ooMtrace.output.outputs import Outputs
from ooMtrace.output.url import parse_output

KILL = kill()


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as started:
        yield started


def send(start: Callable[..., Outputs], text: str, *records: record.Record, seconds: float = 60) -> list[str]:
    said: list[str] = []
    outputs = start(said.append, text)
    for each in records:
        outputs.put(each)
    outputs.drain(seconds)
    outputs.flush()
    return said


def test_a_webhook_gets_a_cloud_event_for_each_line(start, server):
    records: list[record.Record] = [replace(KILL, seq=1), replace(lost(), seq=2)]
    assert send(start, f"webhook+http://127.0.0.1:{server.port}/hook?a=b", *records) == []

    assert [path for path, _, _ in server.requests] == ["/hook?a=b"] * 2
    assert {headers["Content-Type"] for _, headers, _ in server.requests} == {
        "application/cloudevents+json; charset=utf-8"
    }
    event, loss = (json.loads(body) for _, _, body in server.requests)
    assert event == {
        "specversion": "1.0",
        "id": KILL.id,
        "source": "//host/oomtrace",
        "type": "io.oomtrace.oom_kill.v1",
        "time": KILL.time,
        "subject": KILL.process.comm,
        "datacontenttype": "application/json",
        "dataschema": "urn:oomtrace:1",
        "data": json.loads(encode(records[0])),
    }
    assert (loss["type"], loss["time"], "subject" in loss) == ("io.oomtrace.oom_lost.v1", records[1].observed, False)


def test_a_chat_tool_gets_a_text_that_calls_nobody(start, server):
    named = replace(KILL, message="<!channel> @everyone (pid 1) was killed")
    send(start, f"webhook+http://127.0.0.1:{server.port}/#text=content", named)

    ((_, headers, body),) = server.requests
    assert headers["Content-Type"] == "application/json; charset=utf-8"
    (text,) = json.loads(body).values()
    assert list(json.loads(body)) == ["content"]
    assert "(pid 1) was killed" in text
    assert not {"<", ">"} & set(text)
    assert "@everyone" not in text


def test_secrets_come_from_files_and_are_not_shown(start, server, tmp_path):
    headers, url = tmp_path / "headers", tmp_path / "url"
    headers.write_text("Authorization: Bearer hunter2\n\nX-Scope-OrgID: 7\n")
    url.write_text(f"http://127.0.0.1:{server.port}/services/hunter3\n")
    server.answers = [(403, b"")]
    said = send(start, f"webhook+file:{url}#header-file={headers}", KILL)

    (path, sent, _) = server.requests[-1]
    assert path == "/services/hunter3"
    assert (sent["Authorization"], sent["X-Scope-OrgID"]) == ("Bearer hunter2", "7")
    assert said == [
        f"webhook+file:{url}: HTTP 403 Forbidden; lines are kept in memory until it takes them",
        f"webhook+file:{url}: works again",
    ]
    assert "hunter" not in parse_output(f"webhook+http://127.0.0.1:{server.port}/hunter2").name


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"no header\n", "line 1 is no header; write one `Name: value` on each line"),
        (b"A: b\nhunter2\n", "line 2 is no header; write one `Name: value` on each line"),
        (b"A: \xff\n", "has characters that are not ASCII; header-file= takes a readable text file"),
    ],
)
def test_a_file_of_headers_that_is_wrong_is_an_error_at_the_start(tmp_path, content, said):
    (tmp_path / "headers").write_bytes(content)
    with pytest.raises(SinkError) as caught:
        open_outputs([parse_output(f"webhook+http://h/#header-file={tmp_path}/headers")], print)

    assert str(caught.value) == f"webhook+http://h:80: {tmp_path}/headers: {said}"


@pytest.mark.parametrize("content", ["", "file:/etc/passwd", "https://a b", "https://me:hunter2@h/", "https://h/#x"])
def test_a_file_without_a_url_is_an_error_at_the_start(tmp_path, content):
    (tmp_path / "url").write_text(content)
    with pytest.raises(SinkError) as caught:
        open_outputs([parse_output(f"webhook+file:{tmp_path}/url")], print)

    assert "hunter2" not in str(caught.value)


def test_what_may_pass_is_retried_and_loses_nothing(start, server):
    server.answers = [(503, b""), (429, b""), (200, b""), (404, b"")]
    records = [replace(KILL, id=str(n)) for n in range(3)]
    said = send(start, f"webhook+http://127.0.0.1:{server.port}/", *records)

    ids = [json.loads(body)["id"] for _, _, body in server.requests]
    assert ids == ["0", "0", "0", "1", "1", "2"]
    assert "HTTP 503 Service Unavailable" in said[0]


def test_a_line_that_is_refused_for_good_does_not_stop_the_others_and_is_announced(start, server):
    server.answers = [(200, b""), (400, b"")]
    said: list[str] = []
    outputs = start(said.append, f"webhook+http://127.0.0.1:{server.port}/")
    for number in range(3):
        outputs.put(replace(KILL, seq=number))
    outputs.drain(60)
    outputs.put(replace(KILL, seq=3))
    wait_for(lambda: len(server.requests) == 4)
    lines = [json.loads(body)["data"] for _, _, body in server.requests]

    assert [line["seq"] for line in lines] == [0, 1, 2, 3]
    assert [line.get("output_dropped_before") for line in lines] == [None, None, None, 1]
    assert f"webhook+http://127.0.0.1:{server.port}: HTTP 400 Bad Request; what is refused is left out" in said


def test_a_refused_last_line_is_counted_at_the_end(start, server):
    server.answers = [(400, b"")]
    said: list[str] = []
    outputs = start(said.append, f"webhook+http://127.0.0.1:{server.port}/")
    outputs.put(KILL)
    outputs.drain(60)
    with pytest.raises(SinkError, match=r"^1 lines could not be written"):
        outputs.check_all_written(0)


def test_a_wrong_certificate_is_refused_before_anything_is_sent(start, tmp_path):
    with Server(self_signed(tmp_path, "localhost")) as server:
        (tmp_path / "other").mkdir()
        other = self_signed(tmp_path / "other", "localhost")
        for options in ("", f"#ca={other.cert}"):
            url = f"webhook+https://localhost:{server.port}/{options}"
            (said, *_) = send(start, url, KILL, seconds=0.5)
            assert said == (
                f"webhook+https://localhost:{server.port}: the certificate is refused (self-signed certificate),"
                " nothing was sent; lines are kept in memory until it takes them"
            )
        assert server.requests == []
        assert send(start, f"webhook+https://localhost:{server.port}/#ca={tmp_path}/localhost.pem", KILL) == []
        assert len(server.requests) == 1


def test_a_file_that_is_no_certificate_is_an_error_at_the_start(tmp_path):
    (tmp_path / "ca").write_text("no certificate")
    for ca in (tmp_path / "ca", tmp_path / "nothing"):
        with pytest.raises(SinkError, match=r"; ca= takes a file of PEM certificates$"):
            open_outputs([parse_output(f"otlp+https://h#ca={ca}")], print)


def test_an_unknown_format_or_facility_is_an_error_at_the_start():
    for text in ("tcp://h:1#format=xml", "syslog:#facility=local9"):
        with pytest.raises(UsageError, match="use one of"):
            open_outputs([parse_output(text)], print)


# OTLP


def full_kill() -> record.OomKill:
    process = replace(
        KILL.process,
        vpid=7,
        title="sidekiq",
        command_args=("a", "b"),
        user=record.User(id=5, name="app"),
        environment={"CI_JOB": "9"},
    )
    return replace(
        KILL,
        seq=1,
        process=process,
        container=record.Container(id="ab" * 32, runtime="containerd", labels={"app.version": "1"}),
        k8s=record.Kubernetes(
            namespace=record.KubernetesNamespace(name="prod"),
            pod=record.Pod(uid="1-2", name="web-0"),
            workload=record.KubernetesWorkload(kind="Deployment", name="web"),
            qos="burstable",
        ),
    )


def parsed(*records: record.Record) -> Any:
    """Return what the official protobuf package makes of it: it refuses unknown fields and wrong types."""
    request = ExportLogsServiceRequest()
    return json_format.Parse(export_request([log_record(Lines(each)) for each in records]), request)


def attributes(message: Any) -> dict[str, Any]:
    found = {}
    for pair in message.attributes:
        kind = pair.value.WhichOneof("value")
        value = getattr(pair.value, kind)
        found[pair.key] = [item.string_value for item in value.values] if kind == "array_value" else value
    return found


def test_otlp_is_what_the_official_protobuf_package_reads():
    request = parsed(full_kill(), lost())

    (resource_logs,) = request.resource_logs
    assert attributes(resource_logs.resource) == {
        "service.name": "oomtrace",
        "service.version": __version__,
        "os.type": "linux",
        "host.name": "host",
    }
    (scope_logs,) = resource_logs.scope_logs
    assert (scope_logs.scope.name, scope_logs.scope.version) == ("oomtrace", __version__)
    log, loss = scope_logs.log_records
    assert (log.event_name, log.severity_number, log.severity_text) == ("oomtrace.oom_kill", 17, "ERROR")
    assert (loss.event_name, loss.severity_number, loss.time_unix_nano) == ("oomtrace.oom_lost", 13, 0)
    assert log.time_unix_nano == 1699999999000001000
    assert log.body.string_value == KILL.message


def test_attributes_have_the_names_of_the_semantic_conventions():
    (log,) = parsed(full_kill()).resource_logs[0].scope_logs[0].log_records
    found = attributes(log)

    expected = {
        "process.pid": KILL.process.pid,
        "process.vpid": 7,
        "process.title": "sidekiq",
        "process.command_args": ["a", "b"],
        "process.user.id": 5,
        "process.owner": "app",
        "process.environment_variable.CI_JOB": "9",
        "container.id": "ab" * 32,
        "container.runtime.name": "containerd",
        "container.label.app.version": "1",
        "k8s.namespace.name": "prod",
        "k8s.pod.name": "web-0",
        "k8s.pod.uid": "1-2",
        "k8s.deployment.name": "web",
        "oomtrace.k8s.qos": "burstable",
        "oomtrace.oom.verdict": "killed",
        "oomtrace.id": KILL.id,
        "oomtrace.process.comm": KILL.process.comm,
    }
    assert {name: found.get(name) for name in expected} == expected
    assert len(found) == len(log.attributes), "no attribute twice"


def test_a_kill_of_the_whole_host_is_fatal():
    (log,) = parsed(replace(KILL, oom=replace(KILL.oom, scope="global"))).resource_logs[0].scope_logs[0].log_records

    assert (log.severity_number, log.severity_text) == (21, "FATAL")


def test_integers_keep_their_value():
    large = replace(KILL, oom=replace(KILL.oom, limit_bytes=(1 << 53) + 1, number=(1 << 64) - 1))
    (log,) = parsed(large).resource_logs[0].scope_logs[0].log_records
    found = attributes(log)

    assert found["oomtrace.oom.limit_bytes"] == (1 << 53) + 1
    assert found["oomtrace.oom.number"] == str((1 << 64) - 1)


def test_records_of_several_lines_are_one_request(start, server):
    said: list[str] = []
    outputs = start(said.append, f"otlp+http://127.0.0.1:{server.port}")
    for number in range(200):
        outputs.put(replace(KILL, seq=number))
    outputs.drain(60)
    seqs = []
    for path, headers, body in server.requests:
        assert (path, headers["Content-Type"]) == ("/v1/logs", "application/json")
        request = json_format.Parse(body, ExportLogsServiceRequest())
        logs = request.resource_logs[0].scope_logs[0].log_records
        seqs += [attributes(log)["oomtrace.seq"] for log in logs]

    assert seqs == [*range(200)]
    assert len(server.requests) < 200
    assert said == []


def test_records_that_a_collector_rejects_are_counted(start, server):
    server.answers = [(200, b'{"partialSuccess":{"rejectedLogRecords":"1","errorMessage":"no"}}')]
    said: list[str] = []
    outputs = start(said.append, f"otlp+http://127.0.0.1:{server.port}")
    outputs.put(KILL)
    outputs.drain(60)
    with pytest.raises(SinkError, match=r"^1 lines could not be written"):
        outputs.check_all_written(0)
