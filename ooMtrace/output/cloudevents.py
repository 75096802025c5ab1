# SPDX-License-Identifier: Apache-2.0
"""Lines as the body of a webhook: CloudEvents 1.0 (structured mode, JSON), or a text for a chat tool. Pure."""

from __future__ import annotations

from urllib.parse import quote

from ooMtrace.output.encode import dump_line, load
from ooMtrace.output.formats.text import to_text
from ooMtrace.output.lines import Lines, Render
from ooMtrace.output.subject import subject_of, time_of
from ooMtrace.record import SCHEMA

TYPE = "application/cloudevents+json; charset=utf-8"
CHAT_TYPE = "application/json; charset=utf-8"

MARKUP = str.maketrans({"<": "\u2039", ">": "\u203a", "@": "@\u200b", "`": "\u02cb"})
"""A process can name itself `<!channel>` or `@everyone`: what chat tools act on is replaced by what looks the same."""


def cloud_event(lines: Lines) -> bytes:
    """Return the event of a line."""
    record = lines.record
    name, _, version = SCHEMA.partition("/")
    event = {
        "specversion": "1.0",
        "id": record.id,
        "source": f"//{quote(record.host.name or 'localhost', safe='')}/oomtrace",
        "type": f"io.oomtrace.{record.event}.v{version}",
        "time": time_of(record),
        "subject": subject_of(record).comm or None,
        "datacontenttype": "application/json",
        "dataschema": f"urn:{name}:{version}",
        "data": load(lines.line()),
    }
    return dump_line({key: value for key, value in event.items() if value is not None}).rstrip(b"\n")


def chat_message(key: str) -> Render:
    """Return what renders a line as `{"KEY": "text"}`."""

    def render(lines: Lines) -> bytes:
        text = to_text(load(lines.line())).decode().rstrip("\n").translate(MARKUP)
        return dump_line({key: text}).rstrip(b"\n")

    return render
