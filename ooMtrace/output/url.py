# SPDX-License-Identifier: Apache-2.0
"""Where lines go, as the user names it: a path, or a URL such as `syslog+tls://logs:6514#ca=/etc/ssl/ca.pem`. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches

from ooMtrace.errors import UsageError

SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
"""RFC 3986, section 3.1. `./name:part` is a file."""

HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+(?:%[\w.-]+)?)\]|([\w.-]+))?(?::([0-9]{1,5}))?", re.ASCII)
HIGHEST_PORT = 65535
HOST_LENGTH, LABEL_LENGTH = 253, 63

TLS = ("ca", "cert", "key", "server-name")
FORMATTED = ("format",)
SYSLOG = ("facility", "format")
HTTPS = ("ca", "cert", "key", "header-file")


@dataclass(frozen=True, slots=True)
class Scheme:
    """What follows a scheme.

    Attributes:
        kind: `none`, a `path`, a `host` or an `http` URL.
        options: What may be given after `#`.
        port: The port of a URL that names none; 0: it must name one.
        path: The path of a URL that names none.
    """

    kind: str
    options: tuple[str, ...] = ()
    port: int = 0
    path: str = ""


SCHEMES = {
    "stdout": Scheme("none", FORMATTED),
    "file": Scheme("path", FORMATTED),
    "unix": Scheme("path", FORMATTED),
    "tcp": Scheme("host", FORMATTED),
    "journald": Scheme("path", path="/run/systemd/journal/socket"),
    "syslog": Scheme("path", SYSLOG, path="/dev/log"),
    "syslog+udp": Scheme("host", SYSLOG, 514),
    "syslog+tcp": Scheme("host", SYSLOG, 601),
    "syslog+tls": Scheme("host", (*SYSLOG, *TLS), 6514),
    "prometheus": Scheme("path"),
    "prometheus+http": Scheme("host", path="/metrics"),
    "webhook+http": Scheme("http", ("header-file", "text"), 80),
    "webhook+https": Scheme("http", (*HTTPS, "text"), 443),
    "webhook+file": Scheme("path", (*HTTPS, "text")),
    "otlp+http": Scheme("http", ("header-file",), 4318, "/v1/logs"),
    "otlp+https": Scheme("http", HTTPS, 4318, "/v1/logs"),
    "kubernetes": Scheme("path", path="/var/run/secrets/kubernetes.io/serviceaccount"),
}


@dataclass(frozen=True, slots=True)
class OutputUrl:
    """One output.

    Attributes:
        text: As it was given.
        scheme: One of SCHEMES.
        path: Of a file or socket; of HTTP, path and query.
        host: Name or address.
        port: TCP or UDP port.
        options: What stood after `#`.
    """

    text: str
    scheme: str
    path: str = ""
    host: str = ""
    port: int = 0
    options: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """Return what was given."""
        return self.text

    @property
    def name(self) -> str:
        """The name for messages, without what may be a secret: the path of a webhook often is one."""
        if self.scheme == "file":
            return self.path
        if self.host:
            host = f"[{self.host}]" if ":" in self.host else self.host
            return f"{self.scheme}://{host}:{self.port}"
        return f"{self.scheme}:{self.path}" if self.path else self.scheme


STDOUT = OutputUrl("stdout:", "stdout")


def parse_output(text: str) -> OutputUrl:
    """Return the output that a path or URL names.

    Raises:
        UsageError: It names none; the message does not repeat a URL, which may contain a secret.
    """
    if not text or "\0" in text:
        raise UsageError(f"{text!r} is neither a file nor a URL", f"name a file, or one of {known_schemes()}")
    found = SCHEME.match(text)
    if found is None:
        return OutputUrl(text, "file", path=text)
    name = found[1].lower()
    if name not in SCHEMES:
        near = get_close_matches(name, SCHEMES, 1)
        meant = f"did you mean {near[0]}:? " if near else ""
        hint = f"{meant}known are {known_schemes()}; a file of that name is ./{name}:..."
        raise UsageError(f"there is no output {name}:", hint)
    scheme = SCHEMES[name]
    rest, _, fragment = text[found.end() :].partition("#")
    path, host, port = PARSERS[scheme.kind](name, scheme, rest)
    return OutputUrl(text, name, path, host, port, _options(name, scheme, fragment))


def known_schemes() -> str:
    """Return the schemes, for messages."""
    return ", ".join(f"{name}:" for name in SCHEMES)


Place = tuple[str, str, int]
"""Path, host and port."""


def _nothing(name: str, _scheme: Scheme, rest: str) -> Place:
    if rest:
        raise UsageError(f"{name}: takes neither a path nor a host", f"write {name}: alone")
    return "", "", 0


def _path(name: str, scheme: Scheme, rest: str) -> Place:
    if rest.startswith("//"):
        host, slash, below = rest[2:].partition("/")
        if host not in ("", "localhost"):
            raise UsageError(f"{name}://{host} names a host, and {name}: takes a path", f"write {name}:/{host}...")
        rest = slash + below
    if not rest and not scheme.path:
        raise UsageError(f"{name}: has no path", f"write {name}:/path")
    return rest or scheme.path, "", 0


def _host(name: str, scheme: Scheme, rest: str) -> Place:
    text = rest.removeprefix("//").removesuffix("/")
    example = f"write {name}://host:{scheme.port or 5170}"
    if "@" in text:
        raise UsageError(f"{name}: must not contain a user or password", example)
    found = HOST.fullmatch(text)
    if found is None:
        raise UsageError(f"{name}: is not followed by a host and a port", example)
    host = found[1] or found[2] or ("127.0.0.1" if scheme.path else "")
    if host and not found[1] and not _is_host_name(host):
        raise UsageError(f"{name}: is not followed by a valid host name", example)
    port = int(found[3] or scheme.port)
    if not host or not 0 < port <= HIGHEST_PORT:
        raise UsageError(f"{name}: has no {'port from 1 to 65535' if host else 'host'}", example)
    return "", host, port


def _is_host_name(host: str) -> bool:
    """Check the limits of RFC 1035, section 2.3.4, which the resolver reports as no OSError."""
    labels = host.removesuffix(".").split(".")
    return len(host) <= HOST_LENGTH and all(0 < len(label) <= LABEL_LENGTH for label in labels)


def _http(name: str, scheme: Scheme, rest: str) -> Place:
    if not rest.startswith("//"):
        raise UsageError(f"{name}: is not followed by //", f"write {name}://host/path")
    end = re.search(r"[/?]", rest[2:])
    place = len(rest) if end is None else 2 + end.start()
    path = rest[place:] or scheme.path or "/"
    if not path.isascii() or not path.isprintable() or " " in path:
        raise UsageError(f"{name}: the path has characters that a URL cannot have", "write them as %XX")
    _, host, port = _host(name, scheme, rest[:place])
    return path if path.startswith("/") else f"/{path}", host, port


PARSERS = {"none": _nothing, "path": _path, "host": _host, "http": _http}
"""From the name of a scheme, what is known of it, and what follows it."""


def _options(name: str, scheme: Scheme, fragment: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for part in fragment.split(",") if fragment else ():
        key, equals, value = part.partition("=")
        if key not in scheme.options or not equals or not value:
            known = ", ".join(f"{option}=..." for option in scheme.options) or "nothing"
            raise UsageError(f"{name}: has no option {key!r} with a value", f"after # it takes {known}")
        if key in options:
            raise UsageError(f"{name}: the option {key} is given twice", "leave out one of them")
        options[key] = value
    return options
