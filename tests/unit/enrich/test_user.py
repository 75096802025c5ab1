# SPDX-License-Identifier: Apache-2.0
"""The name of a victim's user, from a passwd file with and without damage."""

from __future__ import annotations

import os
import pwd
from dataclasses import replace
from pathlib import Path

import pytest
from support.probe_events import kill

from ooMtrace import record
from ooMtrace.enrich import user
from ooMtrace.enrich.user import add_user_name

PASSWD = """\
root:x:0:0:root:/root:/bin/bash
daemon:x:1:1::/:/usr/sbin/nologin

# comment
broken
nobody:x:minus-one:0
group:x:7:1001
app:x:1000:1000:App,,,:/home/app:/bin/sh
"""


def of_user(id_: int | None) -> record.OomKill:
    return kill(process=record.Process(pid=100, user=record.User(id=id_)))


@pytest.mark.parametrize(("id_", "name"), [(0, "root"), (1, "daemon"), (1000, "app"), (1001, None), (4294967295, None)])
def test_a_user_has_the_name_from_passwd(tmp_path, id_, name):
    (tmp_path / "passwd").write_text(PASSWD)

    named = add_user_name(tmp_path / "passwd")(of_user(id_))

    assert named == kill(process=record.Process(pid=100, user=record.User(id=id_, name=name)))


def test_the_first_of_two_names_for_one_id_counts(tmp_path):
    (tmp_path / "passwd").write_text("root:x:0:0::/:/bin/sh\ntoor:x:0:0::/:/bin/sh\n")

    assert add_user_name(tmp_path / "passwd")(of_user(0)).process.user.name == "root"


def test_a_user_that_is_added_later_has_a_name(tmp_path):
    enrich = add_user_name(tmp_path / "passwd")
    assert enrich(of_user(1000)).process.user.name is None

    (tmp_path / "passwd").write_text(PASSWD)

    assert enrich(of_user(1000)).process.user.name == "app"


def test_an_unchanged_file_is_read_once_for_many_kills_of_one_user(tmp_path, monkeypatch):
    path = tmp_path / "passwd"
    path.write_text(PASSWD)
    reads: list[Path] = []

    def read(file: Path) -> bytes:
        reads.append(file)
        return file.read_bytes()

    monkeypatch.setattr(user, "read_regular_file", read)

    for _ in range(100):
        assert add_user_name(path)(of_user(1000)).process.user.name == "app"
    assert reads == [path]

    path.write_text(PASSWD.replace("app:", "ppa:"))  # as long as before
    assert add_user_name(path)(of_user(1000)).process.user.name == "ppa"


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (None, None),
        (b"", None),
        (b"\xff\xfe:x:1000:\n", "\\xff\\xfe"),
        (b"app:x:1000\n", "app"),
        (b":::::\n", None),
        (b"\0\0", None),
        (b"app:x:" + b"1" * 5000 + b":0\n", None),
        (b"app:x:\xd9\xa1\xd9\xa0\xd9\xa0\xd9\xa0:0\n", None),  # Arabic digits
        (b"a\rb:x:1000:0\n", "a\rb"),
    ],
)
def test_a_missing_or_damaged_passwd_costs_only_the_name(tmp_path, content, name):
    if content is not None:
        (tmp_path / "passwd").write_bytes(content)

    named = add_user_name(tmp_path / "passwd")(of_user(1000))

    assert named == replace(named, process=record.Process(pid=100, user=record.User(id=1000, name=name)))


@pytest.mark.parametrize("owner", [None, record.User()])
def test_an_unknown_user_gets_no_name(tmp_path, owner):
    (tmp_path / "passwd").write_text(PASSWD)
    unknown = kill(process=record.Process(pid=100, user=owner))

    assert add_user_name(tmp_path / "passwd")(unknown) is unknown


def test_without_another_path_the_names_are_those_of_the_host():
    enrich = add_user_name()
    for entry in pwd.getpwall():
        found = enrich(of_user(entry.pw_uid)).process.user

        assert found == record.User(id=entry.pw_uid, name=pwd.getpwuid(entry.pw_uid).pw_name)


@pytest.mark.parametrize(
    ("entry", "name"),
    [
        ("app:x:0001000:0", "app"),
        ("app:x:10000:0", None),
        ("app:x:1000x:0", None),
        ("app:x:+1000:0", None),
        ("app:x:1_000:0", None),
        ("app:x: 1000:0", None),
        (":x:1000:0", None),
        ("app::1000:0", "app"),
    ],
)
def test_only_ascii_digits_are_an_id(tmp_path, entry, name):
    (tmp_path / "passwd").write_text(f"{entry}\n")

    assert add_user_name(tmp_path / "passwd")(of_user(1000)).process.user.name == name


def test_a_fifo_or_an_endless_file_costs_only_the_name(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 40)

    for path in (tmp_path / "fifo", tmp_path / "sparse", Path("/dev/zero")):
        assert add_user_name(path)(of_user(1000)).process.user.name is None
