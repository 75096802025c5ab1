# SPDX-License-Identifier: Apache-2.0
"""Events on pods: what the API server is sent, and what becomes of its answers, as an API server gives them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from support.certificates import self_signed
from support.probe_events import kill, lost
from support.receivers import wait_for
from support.web import Server

from ooMtrace import record
from ooMtrace.errors import SinkError
from ooMtrace.output.kubernetes_events import BURST, MAX_PODS, REFILL_S, EventRender
from ooMtrace.output.lines import Lines
from ooMtrace.output.open import open_outputs
from ooMtrace.output.outputs import Outputs
from ooMtrace.output.url import parse_output

UID = "0d0b0c0a-1111-2222-3333-444455556666"


def status(code: int, reason: str, message: str, **details: Any) -> tuple[int, bytes]:
    """Return an answer as an API server gives it."""
    answer = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message}
    return code, json.dumps({**answer, "reason": reason, "details": details, "code": code}).encode()


# kube-apiserver 1.26 and later
CREATED = (201, b'{"kind":"Event","apiVersion":"v1","metadata":{"name":"web-0.0"}}\n')
NO_PERMISSION = status(
    403,
    "Forbidden",
    'events is forbidden: User "system:serviceaccount:oomtrace:default" cannot create resource "events" in API group '
    '"" in the namespace "prod"',
    kind="events",
)
TERMINATING = status(
    403,
    "Forbidden",
    'events "web-0.0" is forbidden: unable to create new content in namespace prod because it is being terminated',
    name="web-0.0",
    kind="events",
    causes=[
        {
            "reason": "NamespaceTerminating",
            "message": "namespace prod is being terminated",
            "field": "metadata.namespace",
        }
    ],
)
NO_NAMESPACE = status(404, "NotFound", 'namespaces "prod" not found', name="prod", kind="namespaces")
EXISTS = status(409, "AlreadyExists", 'events "web-0.0" already exists', name="web-0.0", kind="events")
TOO_MANY = status(429, "TooManyRequests", "too many requests, please try again later")
EXPIRED = status(401, "Unauthorized", "Unauthorized")


def of_pod(
    number: int = 0, pod: str | None = "web-0", namespace: str | None = "prod", uid: str = UID
) -> record.OomKill:
    return kill(
        id=f"boot-1-{number}",
        k8s=record.Kubernetes(
            namespace=record.KubernetesNamespace(name=namespace) if namespace else None,
            pod=record.Pod(uid=uid, name=pod),
            container=record.KubernetesContainer(name="worker"),
            node=record.KubernetesNode(name="node-1"),
            qos="burstable",
        ),
    )


@pytest.fixture
def account(tmp_path: Path) -> Path:
    """Return the directory of a service account, with the certificate of the server."""
    self_signed(tmp_path, "localhost")
    (tmp_path / "ca.crt").symlink_to(tmp_path / "localhost.pem")
    (tmp_path / "token").write_text("eyJ.first\n")
    return tmp_path


@pytest.fixture
def api(account: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    certificate = self_signed(account, "localhost")
    with Server(certificate) as started:
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "localhost")
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(started.port))
        yield started


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def outputs(api: Server, account: Path, said: list[str]) -> Iterator[Outputs]:
    opened = open_outputs([parse_output(f"kubernetes:{account}")], said.append)
    opened.start("full")
    yield opened
    opened.close()


def put(outputs: Outputs, *records: record.Record) -> None:
    for each in records:
        assert outputs.put(each)
    outputs.drain(60)
    outputs.flush()


def events(api: Server) -> list[dict[str, Any]]:
    return [json.loads(body) for _, _, body in api.requests]


def test_a_kill_in_a_pod_is_an_event_on_that_pod(api, outputs, said):
    api.answers = [CREATED]
    put(outputs, of_pod())

    ((path, headers, body),) = api.requests
    assert path == "/api/v1/namespaces/prod/events"
    assert (headers["Authorization"], headers["Content-Type"]) == ("Bearer eyJ.first", "application/json")
    event = json.loads(body)
    kubernetes_validate.validate(event, "1.37", strict=True)
    assert event["involvedObject"] == {
        "apiVersion": "v1", "kind": "Pod", "namespace": "prod", "name": "web-0", "uid": UID,
    }  # fmt: skip
    kill_ = of_pod()
    assert event["message"] == kill_.message
    assert (event["type"], event["reason"], event["count"]) == ("Warning", "OOMKilling", 1)
    assert event["firstTimestamp"] == event["lastTimestamp"] == kill_.time
    assert event["source"] == {"component": "oomtrace", "host": "node-1"}
    assert event["metadata"]["name"].startswith("web-0.")
    assert said == []


def test_what_is_about_no_pod_has_no_event(api, outputs):
    dying = replace(of_pod(), event="oom_dying")
    put(outputs, kill(), lost(), of_pod(pod=None), of_pod(namespace=None), dying, of_pod(7))

    assert [event["involvedObject"]["name"] for event in events(api)] == ["web-0"]


def test_without_the_name_of_the_node_the_event_has_that_of_the_host():
    kill_ = of_pod()
    assert kill_.k8s is not None
    event = json.loads(EventRender()(Lines(replace(kill_, k8s=replace(kill_.k8s, node=None)))).partition(b"\n")[2])

    assert event["source"]["host"] == event["reportingInstance"] == kill_.host.name == "host"


@pytest.mark.parametrize("name", ["../../nodes", "a/b", "A", "a b", "-a", "a" * 254, "a\n", "ä"])
def test_a_name_that_no_object_has_is_not_part_of_a_request(name):
    assert EventRender()(Lines(of_pod(pod=name))) == b""
    assert EventRender()(Lines(of_pod(namespace=name))) == b""


def test_names_of_events_are_valid_and_the_same_for_the_same_kill():
    def name(kill_: record.OomKill) -> str:
        return str(json.loads(EventRender()(Lines(kill_)).partition(b"\n")[2])["metadata"]["name"])

    long = f"{'a' * 235}.{'b' * 17}"

    assert name(of_pod(1)) == name(of_pod(1)) != name(of_pod(2))
    assert len(name(of_pod(1, pod=long))) <= 253
    assert ".." not in name(of_pod(1, pod=long))


def test_control_characters_of_a_victim_are_shown_and_the_message_has_a_limit():
    kill_ = replace(of_pod(), message="\x1b[2J\n" + "x" * 5000)
    event = json.loads(EventRender()(Lines(kill_)).partition(b"\n")[2])

    assert len(event["message"]) <= 1024
    assert event["message"].isprintable()


@pytest.mark.parametrize("answer", [TOO_MANY, NO_PERMISSION, EXPIRED, (500, b"")])
def test_what_may_pass_is_retried(api, outputs, said, answer):
    api.answers = [answer, CREATED]
    put(outputs, of_pod())

    assert [event["involvedObject"]["name"] for event in events(api)] == ["web-0"] * 2
    assert said[-1].endswith("works again")
    if answer in (NO_PERMISSION, EXPIRED):
        assert ": allow its service account to create events" in said[0]


@pytest.mark.parametrize("answer", [TERMINATING, NO_NAMESPACE, (422, b"")])
def test_what_will_never_be_taken_does_not_hold_up_the_others(api, outputs, said, answer):
    api.answers = [answer, CREATED]
    put(outputs, of_pod(1), of_pod(2))

    assert len({event["metadata"]["name"] for event in events(api)}) == len(api.requests) == 2
    assert said[0].endswith("; what is refused is left out")
    outputs.check_all_written(0)  # no line is missing


def test_an_event_that_exists_was_created_by_an_attempt_whose_answer_was_lost(api, outputs, said):
    api.answers = [EXISTS]
    put(outputs, of_pod())

    assert len(api.requests) == 1
    assert said == []


def test_a_token_that_the_kubelet_has_renewed_is_used(api, outputs, account):
    put(outputs, of_pod(1))
    (account / "token").write_text("eyJ.second")
    put(outputs, of_pod(2))

    assert [headers["Authorization"] for _, headers, _ in api.requests] == ["Bearer eyJ.first", "Bearer eyJ.second"]


def test_a_token_that_is_gone_for_a_while_is_awaited(api, outputs, account, said):
    (account / "token").rename(account / "old")
    outputs.put(of_pod())
    wait_for(lambda: bool(outputs.flush() or said))
    (account / "old").rename(account / "token")
    outputs.reopen()
    outputs.drain(60)

    assert len(api.requests) == 1
    assert "token: No such file or directory" in said[0]


def test_a_pod_that_is_killed_all_the_time_has_an_event_from_time_to_time():
    now = 0.0
    render = EventRender(lambda: now)

    def message(number: int, uid: str = UID) -> str:
        made = render(Lines(of_pod(number, uid=uid)))
        return str(json.loads(made.partition(b"\n")[2])["message"]) if made else ""

    assert all(message(number) for number in range(BURST))
    assert not any(message(number) for number in range(100))
    assert message(0, uid="another")
    now += REFILL_S
    assert message(1).endswith("; 100 more kills in this pod since the last event")
    assert not message(2)


def test_a_pod_that_is_killed_all_the_time_keeps_its_limit_beside_many_others():
    render = EventRender(lambda: 0.0)
    busy = 0
    for number in range(2 * MAX_PODS):
        busy += bool(render(Lines(of_pod(number))))
        render(Lines(of_pod(uid=str(number))))

    assert busy == BURST


def test_no_more_than_a_thousand_pods_are_remembered():
    render = EventRender(lambda: 0.0)
    for number in range(2 * MAX_PODS):
        render(Lines(of_pod(uid=str(number))))

    assert len(render._pods) == MAX_PODS


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda account, env: env.delenv("KUBERNETES_SERVICE_HOST"),
            "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT",
        ),
        (lambda account, env: env.setenv("KUBERNETES_SERVICE_PORT", "http"), "are no address"),
        (lambda account, env: (account / "token").unlink(), "token: No such file or directory"),
        (lambda account, env: (account / "token").write_text("a\nb: c"), "token: is no token"),
        (lambda account, env: (account / "ca.crt").unlink(), "ca.crt: No such file or directory"),
    ],
)
def test_outside_a_pod_or_without_an_account_it_does_not_start(api, account, monkeypatch, change, said):
    change(account, monkeypatch)

    with pytest.raises(SinkError) as caught:
        open_outputs([parse_output(f"kubernetes:{account}")], print)
    assert said in str(caught.value)


def test_beside_it_another_output_has_every_line(api, account, tmp_path):
    opened = open_outputs([parse_output(f"kubernetes:{account}"), parse_output(str(tmp_path / "lines"))], pytest.fail)
    opened.start("full")
    put(opened, of_pod(1), kill(), lost())
    opened.close()

    assert (tmp_path / "lines").read_bytes().count(b"\n") == 3
    assert len(api.requests) == 1
