# SPDX-License-Identifier: Apache-2.0
"""--sigkill and --memory-killer."""

from __future__ import annotations

from argparse import ArgumentParser

import pytest

from ooMtrace import cli
from ooMtrace.commands.options import COMMANDS, settings


def parsed(command: str, *words: str):
    parser = ArgumentParser()
    COMMANDS[command].add_arguments(parser)
    return settings(parser.parse_args(words))


@pytest.mark.parametrize(
    ("words", "sigkill", "names"),
    [
        ((), None, ()),
        (("--sigkill", "all"), "all", ()),
        (("--sigkill", "none"), "none", ()),
        (("--memory-killer", "mine", "--memory-killer", "mine", "--memory-killer", "b"), None, ("mine", "b")),
        (("--sigkill", "memory-killers", "--memory-killer", "mine"), "memory-killers", ("mine",)),
    ],
)
def test_the_options_are_settings(words, sigkill, names):
    found = parsed("trace", *words)

    assert (found.sigkill, found.memory_killers) == (sigkill, names)


def test_demo_reports_none():
    assert parsed("demo").sigkill == "none"


@pytest.mark.parametrize(
    ("words", "stated"),
    [
        (("--sigkill", "some"), "invalid choice: 'some'"),
        (("--sigkill", "all", "--memory-killer", "mine"), "--memory-killer has no effect with --sigkill all"),
        (("--sigkill", "none", "--memory-killer", "mine"), "--memory-killer has no effect with --sigkill none"),
        (("--memory-killer", ""), "is not the name of a process"),
        (("--memory-killer", "/usr/bin/earlyoom"), "is not the name of a process"),
        (tuple(word for n in range(17) for word in ("--memory-killer", f"k{n}")), "17 names, at most 16"),
    ],
)
def test_what_makes_no_sense_is_one_line_and_exit_code_2(capsys, words, stated):
    assert cli.main(list(words)) == 2

    said = capsys.readouterr().err
    assert stated in said
    assert said.count("\n") == 1
