# SPDX-License-Identifier: Apache-2.0
"""The configuration file is read again: what changes at once, what takes a restart, and what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ooMtrace import cli
from ooMtrace.commands.config_file import configure
from ooMtrace.commands.reload import Reloader


class Reload:
    """A file, and a tracer that can change two of its options."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.said: list[str] = []
        self.applied: dict[str, Any] = {}
        options = ["--config", str(file), "--env", "A"]
        _, arguments = cli.parse(options)
        changeable = {"pretty": self.apply("pretty"), "services": self.apply("services")}
        self.reloader = Reloader(configure(arguments, options), self.said.append, changeable)

    def apply(self, name: str) -> Any:
        return lambda value: self.applied.update({name: value})

    def __call__(self, text: str) -> tuple[dict[str, Any], list[str]]:
        """Return what is applied and what is said after the file has changed."""
        self.file.write_text(text)
        self.reloader.reload()
        found = self.applied, [line.removeprefix(str(self.file)) for line in self.said]
        self.applied, self.said[:] = {}, []
        return found


@pytest.fixture
def reload(tmp_path: Path) -> Reload:
    (tmp_path / "c.toml").write_text('level = "reduced"\n')
    return Reload(tmp_path / "c.toml")


BEFORE = 'level = "reduced"\n'


def test_a_file_that_has_not_changed_is_read_without_a_message(reload):
    assert reload(BEFORE) == ({}, [])


def test_what_can_be_changed_is_applied_once_and_named(reload):
    services = [(7000, "redis")]

    assert reload(f'{BEFORE}pretty = true\nservice = ["7000=redis"]\n') == (
        {"pretty": True, "services": services},
        [" was read again; changed: pretty, service"],
    )
    assert reload(f'{BEFORE}pretty = true\nservice = ["7000=redis"]\n') == ({}, [])
    assert reload(BEFORE) == ({"pretty": False, "services": None}, [" was read again; changed: pretty, service"])


def test_what_takes_a_restart_is_named_until_it_is_as_before(reload):
    for _ in range(2):
        assert reload('level = "full"\nno-cmdline = true\nenv = ["B"]\n') == (
            {},
            [" was read again; restart oomtrace for the changes of: cmdline, level"],
        )
    assert reload(BEFORE) == ({}, [])


def test_a_mistake_leaves_everything_as_it_is(reload):
    assert reload("pretty = 1\n") == (
        {},
        [
            ": pretty must be true or false, and is the number 1; write pretty = true, without quotes;"
            " the options that were read before stay in effect"
        ],
    )


def test_options_that_contradict_each_other_leave_everything_as_it_is(reload):
    assert reload(f'{BEFORE}pretty = true\nsigkill = "none"\nmemory-killer = ["x"]\n') == (
        {},
        [
            ": sigkill, memory-killer: --memory-killer has no effect with --sigkill none; leave out one of the two;"
            " the options that were read before stay in effect"
        ],
    )


def test_a_file_that_is_gone_is_a_mistake_if_it_was_named(reload):
    reload.file.unlink()
    reload.reloader.reload()

    assert reload.said == [
        f"{reload.file}: does not exist; name a file that does with --config;"
        " the options that were read before stay in effect"
    ]


def test_without_a_configuration_there_is_nothing_to_read(tmp_path):
    Reloader(None, pytest.fail, {}).reload()
