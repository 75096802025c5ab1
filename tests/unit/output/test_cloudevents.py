# SPDX-License-Identifier: Apache-2.0
"""The body of a webhook: the attributes of an event, and a text in which nothing acts on a chat tool."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from support.probe_events import kill

from ooMtrace import record
from ooMtrace.output.cloudevents import chat_message, cloud_event
from ooMtrace.output.lines import Lines

KILL = kill()


def event_of(record_: record.Record) -> dict[str, Any]:
    body = cloud_event(Lines(record_))
    assert b"\n" not in body
    event: dict[str, Any] = json.loads(body)
    return event


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("web-1.example", "//web-1.example/oomtrace"),
        ("a/b c\xe9", "//a%2Fb%20c%C3%A9/oomtrace"),
        (None, "//localhost/oomtrace"),
    ],
)
def test_any_host_name_makes_a_valid_source(name, source):
    assert event_of(replace(KILL, host=replace(KILL.host, name=name)))["source"] == source


def test_a_victim_without_a_known_name_is_no_subject():
    assert "subject" not in event_of(replace(KILL, process=replace(KILL.process, comm=None)))


def test_a_text_looks_the_same_and_calls_nobody():
    body = chat_message("text")(Lines(replace(KILL, message="<!channel> @everyone `x` was killed")))

    assert b"\n" not in body
    assert list(json.loads(body)) == ["text"]
    assert "\u2039!channel\u203a @\u200beveryone \u02cbx\u02cb was killed" in json.loads(body)["text"]
