# SPDX-License-Identifier: Apache-2.0
"""Redaction costs linear, bounded work, whatever the victim has written into its title, arguments or environment."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest
from support.probe_events import kill

from ooMtrace.enrich.redact import redact
from ooMtrace.enrich.redact_shapes import END
from ooMtrace.enrich.redact_text import redact_text
from ooMtrace.enrich.redact_tools import PROGRAMS
from ooMtrace.record import Connection, Endpoint, Executable, Process

SIZE = 4096

KEYS = [
    "pw", "pwd", "pass", "passwd", "password", "passphrase", "secret", "token", "api_key", "key", "auth", "cookie",
    "session", "signature", "sas", "salt", "dsn", "private", "credential", "bearer", "hmac", "jwt", "webhook", "psk",
    "community", "license", "otp", "pin", "code", "login", "enc", "fernet", "--password", "-p", "-u", "/p",
]  # fmt: skip
SIGNS = ("=", " ", ":", "=/", ":/", "=1 ", "='", '="', "=(", "={", " = ", " => ", "%3D", "%253D", END, "=$A ", "=a,")
PIECES = [
    "a", " ", "\n", "\t", "\r", "-", "=", ":", ";", ",", '"', "'", "\\", "/", "@", "#", "$", "%", "&", "?", "!", "~",
    "^", "*", "+", "|", "(", ")", "[", "]", "{", "}", "<", ">", "`", "_", ".", "0", "A", "é", "\ud800", "://", "://a:b",
    "://a:b/", "http://a:b@", "a@", "a:b@", "a:b@c", "aA", "a_", "a.", "a=", "a=b,", "a  =", "=>", "\"'", "\\\"",
    "\\\\", "%25", "%2525", "%70", "-eyJaaaaaaaa", "eyJaaaaaaaa.", "Bearer a", "bearer ", "-----BEGIN PRIVATE KEY",
    "-----BEGIN PRIVATE KEY-----", "-----END", "mysql -pa ", "mysql -p ", "curl -u a", "[", "{pass=[", "pass='\\",
    "pass=\\\\", "SG.", "SG.aaaaaaaaaaaaaaaa.", ":thin:a/", "?key=", "&token=", "identified by ", "by password ",
    "sk-ant-", "-a-", "xoxb-", "bot1234567", "a\0--", "pass=a,b", "echo ", "echo a:", "printf a ", "secret,",
    "sudo -S ",
    'assword"send ', "pass:", "xK9", "aB3dE9xQ2 ", "$1$", "1//0", "key-", "hv", "s.", "-u a -p b ", "login -p ",
    "--user a:b1 ", "vault put a=b ", "mc set a b c d ", "chpasswd <<< a:", "define('token', ",
    '"name":"token","value":', '"value":"',
    '"name":"token",', "'value':{", "'value':\"", "name=token,value=", "value=", "name=", "password is ", "pwd=/",
    "x" * 63 + "=", "set\0token\0", "tokens 1 ",
]  # fmt: skip


def _texts() -> Iterator[str]:
    conventions = {repr(rules): name for name, rules in PROGRAMS.items()}
    keys = (key + SIGNS[(7 * nth + more) % len(SIGNS)] for nth, key in enumerate(KEYS) for more in range(3))
    for piece in (*PIECES, *keys, *(f"{name} -p a " for name in conventions.values())):
        yield piece * (SIZE // len(piece))
    chance = random.Random(0)
    for _ in range(60):
        pieces = chance.choices((*PIECES, *KEYS, *SIGNS), k=chance.randint(2, 5))
        yield ("".join(pieces) * SIZE)[:SIZE]


TEXTS = [form for text in _texts() for form in (text, f"{END}curl{END}{text.replace(' ', END)}")]
"""Each as a title, and with its words as arguments."""


def _calls(work: Callable[[], object]) -> int:
    """Count the calls of functions, written in Python or in C: each handles one word, name or value, or one text."""
    count = 0

    def on_event(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(on_event)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def test_the_number_of_steps_is_linear_in_the_text():
    """Were a step repeated for each of the others, a text of four times the size would take sixteen times as many."""
    for text in TEXTS:
        few, many = _calls(partial(redact_text, text[: SIZE // 4])), _calls(partial(redact_text, text))
        assert many < 6 * few + 2000, text[:40]
        assert many < 40 * SIZE, text[:40]


def _seconds(text: str) -> float:
    start = time.process_time()
    redact_text(text)
    return time.process_time() - start


def test_no_text_takes_much_longer_than_one_long_word():
    """The aim is ten times as long; the tolerance is for a busy machine. A quadratic scan takes hundreds of times."""
    plain = min(_seconds("x" * SIZE) for _ in range(9))
    for text in TEXTS:
        if _seconds(text) > 20 * plain:
            assert min(_seconds(text) for _ in range(5)) < 30 * plain, text[:40]


@pytest.mark.parametrize("text", ["pwd=/" * (SIZE // 5), "'value':{" * (SIZE // 9), "password=" * (SIZE // 9)])
def test_every_fact_is_redacted_with_the_same_few_steps(text):
    endpoint = Endpoint(address=text)
    victim = kill(
        process=Process(
            pid=100,
            title=text,
            command_args=(text,),
            working_directory=text,
            executable=Executable(path=text),
            environment={"A": text},
            connections=(Connection(fd=3, transport="unix", local=endpoint, remote=endpoint),),
        )
    )
    scrub = redact()

    assert _calls(lambda: scrub(victim)) < 7 * 40 * SIZE


def test_a_text_eight_times_as_long_takes_about_eight_times_as_long():
    for piece in ("pwd=/", "password=/a ", "://a:b", '"value":{', "a:b", "mysql -p ", "%70", "aB3 "):
        short, long = piece * (SIZE // len(piece)), piece * (8 * SIZE // len(piece))
        assert min(_seconds(long) for _ in range(3)) < 30 * min(_seconds(short) for _ in range(5)), piece
