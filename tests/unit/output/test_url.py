# SPDX-License-Identifier: Apache-2.0
"""Where lines go, as a user names it: a path, or a URL that is understood or refused with what to do."""

from __future__ import annotations

import re
import shlex
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ooMtrace import cli
from ooMtrace.errors import UsageError
from ooMtrace.output.url import SCHEMES, known_schemes, parse_output


@pytest.mark.parametrize(
    ("text", "scheme", "path"),
    [
        ("lines", "file", "lines"),
        ("/var/log/x.jsonl", "file", "/var/log/x.jsonl"),
        ("./tcp:x", "file", "./tcp:x"),
        ("a b#c", "file", "a b#c"),
        ("-", "file", "-"),
        ("\udcff", "file", "\udcff"),
        ("file:lines", "file", "lines"),
        ("file:/var/log/x", "file", "/var/log/x"),
        ("file:///var/log/x", "file", "/var/log/x"),
        ("FILE://localhost/x", "file", "/x"),
        ("unix:/run/x.sock", "unix", "/run/x.sock"),
        ("unix:///run/x.sock", "unix", "/run/x.sock"),
        ("stdout:", "stdout", ""),
    ],
)
def test_paths_and_urls_of_paths(text, scheme, path):
    found = parse_output(text)

    assert (found.scheme, found.path, str(found)) == (scheme, path, text)


@pytest.mark.parametrize(
    ("text", "host", "port", "name"),
    [
        ("tcp://logs:5170", "logs", 5170, "tcp://logs:5170"),
        ("tcp:logs:5170", "logs", 5170, "tcp://logs:5170"),
        ("tcp://10.0.0.1:1/", "10.0.0.1", 1, "tcp://10.0.0.1:1"),
        ("tcp://[::1]:65535", "::1", 65535, "tcp://[::1]:65535"),
        ("tcp://[fe80::1%eth0]:7", "fe80::1%eth0", 7, "tcp://[fe80::1%eth0]:7"),
    ],
)
def test_urls_of_hosts(text, host, port, name):
    found = parse_output(text)

    assert (found.scheme, found.host, found.port, found.name) == ("tcp", host, port, name)


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("", "'' is neither a file nor a URL"),
        ("a\0b", "'a\\x00b' is neither a file nor a URL"),
        ("file:", "file: has no path"),
        ("unix://", "unix: has no path"),
        ("file://elsewhere/x", "file://elsewhere names a host, and file: takes a path"),
        ("stdout:/x", "stdout: takes neither a path nor a host"),
        ("tcp:", "tcp: has no host"),
        ("tcp://logs", "tcp: has no port from 1 to 65535"),
        ("tcp://logs:0", "tcp: has no port from 1 to 65535"),
        ("tcp://logs:65536", "tcp: has no port from 1 to 65535"),
        ("tcp://logs:x", "tcp: is not followed by a host and a port"),
        ("tcp://a b:1", "tcp: is not followed by a host and a port"),
        ("tcp://::1:5", "tcp: is not followed by a host and a port"),
        ("tcp://logs:1/path", "tcp: is not followed by a host and a port"),
        (f"tcp://{'a' * 64}.test:1", "tcp: is not followed by a valid host name"),
        (f"tcp://{'a.' * 130}test:1", "tcp: is not followed by a valid host name"),
        ("tcp://a..b:1", "tcp: is not followed by a valid host name"),
        ("webhook+http:host/x", "webhook+http: is not followed by //"),
        ("webhook+https://host/a b", "webhook+https: the path has characters that a URL cannot have"),
        ("webhook+https://me:hunter2@host/", "webhook+https: must not contain a user or password"),
        ("otlp+http://host:x/", "otlp+http: is not followed by a host and a port"),
        ("prometheus:", "prometheus: has no path"),
        ("prometheus+http://", "prometheus+http: has no port from 1 to 65535"),
        ("tcp://me:hunter2@logs:1", "tcp: must not contain a user or password"),
        ("tcp://logs:1#colour=red", "tcp: has no option 'colour' with a value"),
        ("tcp://logs:1#format", "tcp: has no option 'format' with a value"),
    ],
)
def test_what_is_wrong_is_stated_with_what_to_write(text, fact):
    with pytest.raises(UsageError) as caught:
        parse_output(text)

    assert caught.value.fact == fact
    assert caught.value.hint
    assert "hunter2" not in str(caught.value)


def test_an_unknown_scheme_names_the_known_ones_and_the_nearest():
    with pytest.raises(UsageError) as caught:
        parse_output("tpc://logs:1")

    assert str(caught.value) == (
        f"there is no output tpc:; did you mean tcp:? known are {known_schemes()}; a file of that name is ./tpc:..."
    )
    assert all(f"{name}:" in known_schemes() for name in SCHEMES)


@settings(max_examples=50)
@given(st.text() | st.builds("{}:{}".format, st.sampled_from(list(SCHEMES)), st.text("/:@[]#=,.%?a1 \0é")))
def test_any_text_is_an_output_or_a_usage_error(text):
    found = None
    with suppress(UsageError):
        found = parse_output(text)

    if found is not None:
        assert found.scheme in SCHEMES
        assert found.path or found.host or SCHEMES[found.scheme].kind == "none"


@pytest.mark.parametrize(
    ("text", "host", "port", "path"),
    [
        ("webhook+https://h/a?b=c", "h", 443, "/a?b=c"),
        ("webhook+http://h", "h", 80, "/"),
        ("webhook+http://h?x", "h", 80, "/?x"),
        ("otlp+http://[::1]:4319", "::1", 4319, "/v1/logs"),
        ("otlp+https://h/other", "h", 4318, "/other"),
        ("syslog+udp://h", "h", 514, ""),
        ("syslog+tcp://h", "h", 601, ""),
        ("syslog+tls://h", "h", 6514, ""),
        ("syslog:", "", 0, "/dev/log"),
        ("journald:", "", 0, "/run/systemd/journal/socket"),
        ("prometheus+http://:1", "127.0.0.1", 1, ""),
    ],
)
def test_what_a_url_leaves_out_has_a_default(text, host, port, path):
    found = parse_output(text)

    assert (found.host, found.port, found.path) == (host, port, path)


@pytest.mark.parametrize(("labels", "is_host"), [((63, 63, 63, 61), True), ((63, 63, 63, 62), False), ((64,), False)])
def test_names_of_hosts_are_as_long_as_dns_allows(labels, is_host):
    """RFC 1035, section 2.3.4: 63 octets a label, and 255 in all, which are 253 as text."""
    text = f"tcp://{'.'.join('h' * length for length in labels)}:1"
    if is_host:
        assert parse_output(text).port == 1
    else:
        with pytest.raises(UsageError):
            parse_output(text)


def test_options_follow_a_number_sign():
    found = parse_output("syslog+tls://h#ca=/a=b/c.pem,facility=local0,server-name=x")

    assert found.options == {"ca": "/a=b/c.pem", "facility": "local0", "server-name": "x"}


DOCS = (Path(__file__).parents[3] / "docs/outputs.md").read_text()


def test_the_documentation_names_every_scheme_and_option():
    named = set(re.findall(r"`([a-z][a-z+]*):", DOCS))

    assert set(SCHEMES) <= named
    for scheme in SCHEMES.values():
        assert all(f"{option}=" in DOCS for option in scheme.options)


def test_the_examples_in_the_documentation_are_understood():
    commands = re.findall(r"^sudo oomtrace (.+)$", DOCS, re.MULTILINE)
    assert commands
    for words in commands:
        name, arguments = cli.parse(shlex.split(words))
        assert (name, len(arguments.output)) == ("trace", 2)
    urls = re.findall(r"`((?:syslog\+tls|file|unix|tcp|webhook\+file|prometheus):[^ `]*)`", DOCS)
    assert len(urls) > 5
    for url in urls:
        assert parse_output(url.replace(":port", ":1")).scheme in SCHEMES
