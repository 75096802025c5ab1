# SPDX-License-Identifier: Apache-2.0
"""Requests of OTLP over HTTP, and their answers: several log records at once, in the JSON encoding. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from ooMtrace.output.encode import dump_line, load
from ooMtrace.output.formats.otlp import SCOPE, host_name, resource, to_log_record
from ooMtrace.output.lines import Lines

PATH = "/v1/logs"


def log_record(lines: Lines) -> bytes:
    """Return a line as the JSON of a LogRecord, with the name of the host as its first line."""
    facts = load(lines.line())
    return dump_line(host_name(facts)) + dump_line(to_log_record(facts)).rstrip(b"\n")


def export_request(records: Sequence[bytes]) -> bytes:
    """Return the ExportLogsServiceRequest with these records: one resource for each host."""
    hosts: dict[bytes, list[bytes]] = {}
    for record in records:
        host, _, text = record.partition(b"\n")
        hosts.setdefault(host, []).append(text)
    scope = dump_line(SCOPE).rstrip(b"\n")
    parts = (
        b'{"resource":%s,"scopeLogs":[{"scope":%s,"logRecords":[%s]}]}'
        % (dump_line(resource(load(host))).rstrip(b"\n"), scope, b",".join(texts))
        for host, texts in hosts.items()
    )
    return b'{"resourceLogs":[%s]}' % b",".join(parts)


def rejected(response: bytes) -> int:
    """Return how many records a response says were rejected (partialSuccess)."""
    try:
        return int(load(response)["partialSuccess"]["rejectedLogRecords"])
    except (ValueError, TypeError, KeyError):
        return 0
