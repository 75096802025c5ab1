# SPDX-License-Identifier: Apache-2.0
"""From the outputs that were named to open ones. What only one kind of output needs is imported for that kind alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ooMtrace.errors import SinkError, UsageError
from ooMtrace.output.channel import Channel
from ooMtrace.output.lines import Format, Render, native, rendered_as
from ooMtrace.output.outbox import Outbox
from ooMtrace.output.outputs import Outputs
from ooMtrace.output.stream import StreamSink
from ooMtrace.output.url import STDOUT, OutputUrl, parse_output
from ooMtrace.output.wake import Wake

if TYPE_CHECKING:
    from http.client import HTTPConnection

    from ooMtrace.output.courier import Transport
    from ooMtrace.output.metrics import Metrics

Say = Callable[[str], None]

LOCAL = ("stdout", "file")
REOPENED = ("file", "unix", "syslog", "prometheus")
"""Outputs that open a path later, too, in a folder that may belong to another user. Journald's is open to everyone."""

METRICS = ("prometheus", "prometheus+http")
EVENTS = "kubernetes"


def open_outputs(urls: Sequence[OutputUrl], say: Say, format_: Format = native) -> Outputs:
    """Open outputs; none: stdout. No thread runs before `start`.

    Raises:
        SinkError: A file cannot be opened.
        UsageError: An option of an output has a wrong value.
    """
    urls = urls or (STDOUT,)
    wake = Wake() if any(url.scheme not in LOCAL for url in urls) else None
    channels: list[Channel] = []
    metrics = _metrics() if any(url.scheme in METRICS for url in urls) else None
    try:
        for url in urls:
            if metrics is not None and wake is not None and url.scheme in METRICS:
                channels.append(_metrics_channel(url, say, wake, metrics))
            elif url.scheme == EVENTS and wake is not None:
                channels.append(_events_channel(url, say, wake))
            else:
                channels.append(_channel(url, say, wake, _format_of(url, format_)))
    except BaseException:
        for channel in channels:
            channel.queue.close()
        raise
    needs_files = any(url.scheme in REOPENED for url in urls)
    return Outputs(channels, say, wake, metrics, needs_files=needs_files)


def _channel(url: OutputUrl, say: Say, wake: Wake | None, format_: Format) -> Channel:
    if wake is None or url.scheme in LOCAL:
        sink = StreamSink(Path(url.path) if url.scheme == "file" else None)
        return Channel(Outbox(sink, say), rendered_as(format_))
    from ooMtrace.output.courier import Courier

    transport, render = KINDS[url.scheme.partition("+")[0]](url, format_)
    return Channel(Courier(transport, say, wake), render)


def _format_of(url: OutputUrl, default: Format) -> Format:
    name = url.options.get("format")
    if name is None:
        return default
    from ooMtrace.output.formats import FORMATS, format_named

    if name not in FORMATS:
        raise UsageError(f"{url.scheme}: there is no format {name!r}", f"use one of {', '.join(FORMATS)}")
    return format_named(name)


def _metrics() -> Metrics:
    from ooMtrace.output.metrics import Metrics

    return Metrics()


def _metrics_channel(url: OutputUrl, say: Say, wake: Wake, metrics: Metrics) -> Channel:
    if url.scheme == "prometheus+http":
        from ooMtrace.output.endpoint import Endpoint

        endpoint = Endpoint(url.name, url.host, url.port, metrics.text)
        return Channel(endpoint, lambda _lines: b"", carries_lines=False)
    from ooMtrace.output.courier import Courier
    from ooMtrace.output.textfile import CHANGED, TextFile

    file = TextFile(url.name, Path(url.path), metrics.text)
    return Channel(Courier(file, say, wake), lambda _lines: CHANGED, carries_lines=False)


def _events_channel(url: OutputUrl, say: Say, wake: Wake) -> Channel:
    from ooMtrace.output.courier import Courier
    from ooMtrace.output.kubernetes_events import EventRender, open_events

    return Channel(
        Courier(open_events(url.name, Path(url.path), os.environ), say, wake), EventRender(), carries_lines=False
    )


def _stream(url: OutputUrl, format_: Format) -> tuple[Transport, Render]:
    from ooMtrace.output.stream_socket import StreamSocket, open_tcp, open_unix

    place = partial(open_unix, url.path) if url.scheme == "unix" else partial(open_tcp, url.host, url.port)
    return StreamSocket(url.name, place), rendered_as(format_)


def _journald(url: OutputUrl, _format: Format) -> tuple[Transport, Render]:
    from ooMtrace.output.journald import Journal, datagram

    return Journal(url.name, url.path), datagram


def _syslog(url: OutputUrl, format_: Format) -> tuple[Transport, Render]:
    from ooMtrace.output import syslog
    from ooMtrace.output.datagram_socket import DatagramSocket
    from ooMtrace.output.stream_socket import StreamSocket, open_tcp

    render = syslog.message_of(url.options.get("facility", "daemon"), format_)
    if url.scheme == "syslog":
        return DatagramSocket(url.name, partial(syslog.open_log_socket, url.path)), render
    if url.scheme == "syslog+udp":
        return DatagramSocket(url.name, partial(syslog.open_udp, url.host, url.port)), render
    place = partial(open_tcp, url.host, url.port)
    if url.scheme == "syslog+tls":
        from ooMtrace.output import tls

        context = tls.client_context(url.name, url.options)
        server_name = url.options.get("server-name", url.host)
        place = partial(tls.open_tls, url.name, url.host, url.port, context, server_name)
    return StreamSocket(url.name, place), syslog.octet_counted(render)


def _webhook(url: OutputUrl, _format: Format) -> tuple[Transport, Render]:
    from ooMtrace.output import cloudevents
    from ooMtrace.output.http_post import HttpPost

    target = _url_in_file(url) if url.scheme == "webhook+file" else url
    connection, headers = _http(url, target)
    if key := url.options.get("text"):
        headers.setdefault("Content-Type", cloudevents.CHAT_TYPE)
        return HttpPost(url.name, connection, target.path, headers), cloudevents.chat_message(key)
    headers.setdefault("Content-Type", cloudevents.TYPE)
    return HttpPost(url.name, connection, target.path, headers), cloudevents.cloud_event


def _otlp(url: OutputUrl, _format: Format) -> tuple[Transport, Render]:
    from ooMtrace.output import otlp
    from ooMtrace.output.http_post import HttpPost

    connection, headers = _http(url, url)
    headers.setdefault("Content-Type", "application/json")
    post = HttpPost(url.name, connection, url.path, headers, otlp.export_request, otlp.rejected)
    return post, otlp.log_record


def _http(url: OutputUrl, target: OutputUrl) -> tuple[HTTPConnection, dict[str, str]]:
    from ooMtrace.output.http_post import open_connection, read_headers
    from ooMtrace.output.tls import client_context

    context = client_context(url.name, url.options) if target.scheme.endswith("s") else None
    return open_connection(target.host, target.port, context), read_headers(url.name, url.options.get("header-file"))


def _url_in_file(url: OutputUrl) -> OutputUrl:
    """Return the URL that a file contains: it is a secret, because knowing it is enough to post there."""
    hint = "it must contain one URL, https://..."
    try:
        text = Path(url.path).read_text("ascii").strip()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "has characters that are not ASCII"
        raise SinkError(f"{url.name}: {reason}", hint) from error
    if not text.startswith(("http://", "https://")) or "#" in text or len(text.split()) != 1:
        raise SinkError(f"{url.name}: is not a URL", hint)
    try:
        return parse_output(f"webhook+{text}")
    except UsageError as error:
        raise SinkError(f"{url.name}: {error.fact}", error.hint) from error


KINDS = {"unix": _stream, "tcp": _stream, "journald": _journald, "syslog": _syslog, "webhook": _webhook, "otlp": _otlp}
"""From the first part of a scheme to how a message is delivered, and what it is."""
