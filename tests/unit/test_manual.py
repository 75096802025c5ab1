# SPDX-License-Identifier: Apache-2.0
"""The man page and the completions have every command and option."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from deploy.command_line import SUMMARIES, all_options, options_of
from ooMtrace import __version__
from ooMtrace.commands.options import COMMANDS
from ooMtrace.record.json_schema import json_schema

ROOT = Path(__file__).parents[2]
SHELLS = ("bash", "zsh", "fish")


@cache
def generated(*module: str) -> str:
    command = [sys.executable, "-B", "-m", *module]
    env = {"SOURCE_DATE_EPOCH": "1795867200", "LC_ALL": "C"}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True).stdout


def man() -> str:
    """Return the man page without the escapes of roff."""
    return re.sub(r"\\f[BRP]|\\&", "", generated("deploy.manual")).replace("\\-", "-").replace("\\(aq", "'")


def paths(prefix: str, schema: dict[str, Any]) -> set[str]:
    found = set()
    for name, part in schema.get("properties", {}).items():
        path = f"{prefix}{name}{'[]' if part['type'] == 'array' else ''}"
        found |= {path} | paths(f"{path}.", part.get("items", part))
    return found


def test_the_man_page_has_every_command_option_and_field():
    terms = set(re.findall(r"^\.TP\n\.B (.+)$", man(), re.MULTILINE))

    assert set(SUMMARIES) <= {term.split()[0] for term in terms}
    assert {option.names[-1] for option in all_options()} <= {term.split()[0] for term in terms}
    assert paths("", json_schema()) <= terms
    assert {"0", "1", "2", "77", "SIGHUP", "Ctrl-C or SIGTERM", "/dev/kmsg"} <= terms


def test_the_man_page_has_the_version_and_the_date_of_the_tree():
    assert re.match(rf'\.TH OOMTRACE 8 "2026-11-28" "oomtrace {re.escape(__version__)}"', man())


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
def test_groff_has_nothing_to_say_about_the_man_page():
    done = subprocess.run(
        ["groff", "-man", "-ww", "-z"], input=generated("deploy.manual"), capture_output=True, text=True, check=True
    )

    assert done.stderr == ""


def test_no_line_of_the_man_page_is_too_long():
    source = re.sub(r"^\.nf\n.*?^\.fi\n", "", generated("deploy.manual"), flags=re.MULTILINE | re.DOTALL)

    assert [line for line in source.splitlines() if len(line) > 80] == []


@pytest.mark.parametrize("shell", SHELLS)
def test_completions_name_every_command_and_option(shell):
    text = generated("deploy.completions", shell)

    for name in SUMMARIES:
        assert re.search(rf"\b{name}\b", text), name
    for option in all_options():
        spelling = f"-l {option.names[-1][2:]} " if shell == "fish" else option.names[-1]
        assert spelling in text, option
        assert " ".join(option.choices) in text


def complete(*words: str) -> set[str]:
    """Return what bash offers for the last word."""
    script = generated("deploy.completions", "bash") + (
        'compopt() { :; }\nCOMP_WORDS=("$@") COMP_CWORD=$(($# - 1))\n_oomtrace\nprintf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    command = ["bash", "-c", script, "bash", "oomtrace", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stderr == ""
    return set(done.stdout.split())


@pytest.mark.parametrize("command", COMMANDS)
def test_bash_offers_the_options_of_the_command_and_no_others(command):
    offered = complete(command, "--")

    assert offered == {option.names[-1] for option in options_of(command)} | {"--help", "--version"}


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ([""], set(SUMMARIES)),
        (["do"], {"doctor"}),
        (["--pretty", "de"], {"demo"}),
        (["--level", "f"], {"full"}),
        (["--level", "=", "f"], {"full"}),
        (["doctor", "--require", "="], {"full", "reduced", "minimal", "log"}),
        (["--process", "doctor", "--ju"], set()),
        (["--output", "doctor", "logs", "--su"], {"--summary"}),
        (["logs", "README"], {"README.md"}),
        (["--output", "READ"], {"README.md"}),
        (["--state", "doc"], {"docs"}),
        (["--since", ""], set()),
        (["doctor", ""], set()),
        (["help", "sch"], {"schema"}),
    ],
)
def test_bash_completes(words, offered):
    assert complete(*words) == offered


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_shellcheck_finds_nothing_in_the_bash_completion():
    text = generated("deploy.completions", "bash")

    done = subprocess.run(["shellcheck", "-s", "bash", "-"], input=text, capture_output=True, text=True, check=False)

    assert done.stdout == ""
