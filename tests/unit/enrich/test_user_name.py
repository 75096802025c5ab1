# SPDX-License-Identifier: Apache-2.0
"""The names of users come from the file, whatever else is in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.probe_events import HOST

from ooMtrace.enrich.user import add_user_name
from ooMtrace.record import Oom, OomKill, Process, User

PASSWD = b"""root:x:0:0:root:/root:/bin/bash
toor:x:0:0:root:/root:/bin/sh
# a comment
web:x:1000:33:,,,:/home/web:/bin/sh
broken
none:x::100::/:/bin/false
m\xfcller:x:1001:1001::/:/bin/sh
"""


@pytest.fixture
def passwd(tmp_path: Path) -> Path:
    (tmp_path / "passwd").write_bytes(PASSWD)
    return tmp_path / "passwd"


def name_of(id_: int | None, passwd: Path) -> str | None:
    kill = OomKill(
        id="1",
        observed="",
        message="",
        fidelity="full",
        host=HOST,
        oom=Oom(incident="1"),
        process=Process(user=User(id=id_)),
    )
    user = add_user_name(passwd)(kill).process.user
    assert user is not None
    assert user.id == id_
    return user.name


def test_a_user_is_named_by_its_id_and_not_by_its_group(passwd):
    assert name_of(1000, passwd) == "web"
    assert name_of(33, passwd) is None


def test_of_two_names_of_one_user_the_first_counts(passwd):
    assert name_of(0, passwd) == "root"


def test_a_name_that_is_not_utf_8_is_escaped(passwd):
    assert name_of(1001, passwd) == "m\\xfcller"


def test_unknown_users_and_a_missing_file_give_no_name(passwd):
    assert name_of(None, passwd) is None
    assert name_of(4711, passwd) is None
    assert name_of(0, passwd.with_name("absent")) is None


def test_the_file_is_read_again_for_each_kill(tmp_path, passwd):
    enrich = add_user_name(passwd)
    assert name_of(2000, passwd) is None
    passwd.write_bytes(PASSWD + b"new:x:2000:2000::/:/bin/sh\n")

    kill = OomKill(
        id="1",
        observed="",
        message="",
        fidelity="full",
        host=HOST,
        oom=Oom(incident="1"),
        process=Process(user=User(id=2000)),
    )
    assert enrich(kill).process.user == User(id=2000, name="new")
