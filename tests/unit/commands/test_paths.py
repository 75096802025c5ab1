# SPDX-License-Identifier: Apache-2.0
"""Outputs that would overwrite one another are refused, however they are spelled."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ooMtrace import cli

ROOT = Path(__file__).parent.parent.parent.parent


def refusal(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert cli.main([*map(str, arguments)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    return said.err.removeprefix("oomtrace: ").rstrip("\n")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current directory: `lines` has a hard link, a symbolic link, and one through its directory."""
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "lines").touch()
    os.link(folder / "lines", tmp_path / "hard")
    (tmp_path / "soft").symlink_to("here/lines")
    (tmp_path / "dangling").symlink_to("here/new")
    (tmp_path / "there").symlink_to("here")
    (folder / "state").mkdir(mode=0o700)
    (folder / "state/checkpoint").touch()
    os.link(folder / "state/checkpoint", tmp_path / "checkpoint")
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize(
    ("output", "ready"),
    [
        ("lines", "lines"),
        ("lines", "./lines"),
        ("lines", "../here/../here//lines"),
        ("lines", "../hard"),
        ("../hard", "../soft"),
        ("lines", "../there/lines"),
        ("new", "new"),
        ("new", "../there/new"),
        ("new", "../dangling"),
        ("/dev/null", "/dev/null"),
    ],
)
def test_the_ready_file_must_not_be_the_output(folder, capsys, output, ready):
    for ends in ((output, ready), (ready, output)):
        said = refusal(capsys, "--output", ends[0], "--ready-file", ends[1])
        ready_file = Path(ends[1])
        assert said == f"--ready-file and --output are the same file, {ready_file}; choose another --ready-file"
    assert (folder / "lines").exists()


@pytest.mark.parametrize(
    ("path", "state"),
    [
        ("state", "state"),
        ("state/checkpoint", "state"),
        ("state/lines", "state"),
        ("state/deep/lines", "./state/"),
        ("../there/state/lock", "state"),
        ("state/lines", "../there/state"),
        ("../checkpoint", "state"),
        ("new", "new"),
        ("new/lines", "../there/new"),
    ],
)
@pytest.mark.parametrize("option", ["--output", "--ready-file"])
def test_no_other_file_may_be_in_the_state_directory(folder, capsys, option, path, state):
    said = refusal(capsys, option, path, "--state", state)

    assert said == f"{option} {path} is in the state directory, {Path(state)}; choose another {option}"


def test_the_ready_file_must_not_be_what_stdout_is_redirected_to(folder):
    command = [sys.executable, "-m", "ooMtrace", "--ready-file", "lines"]
    with (folder / "lines").open("wb") as stdout:
        done = subprocess.run(
            command, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False, env={"PYTHONPATH": str(ROOT)}
        )

    assert done.returncode == 2
    assert done.stderr == ("oomtrace: --ready-file and stdout are the same file, lines; choose another --ready-file\n")
    assert (folder / "lines").exists()


@pytest.mark.parametrize(
    ("first", "second", "named"),
    [("lines", "file:../here/lines", "../here/lines"), ("../hard", "../soft", "../soft"), ("new", "./new", "new")],
)
def test_a_file_is_no_two_outputs(folder, capsys, first, second, named):
    assert refusal(capsys, "--output", first, "--output", second) == (
        f"--output {named} is the same file as another --output; leave out one of them"
    )


def test_the_ready_file_is_compared_with_every_output(folder, capsys):
    said = refusal(capsys, "--output", "tcp://h:1", "--output", "x", "--output", "file:lines", "--ready-file", "lines")

    assert said == "--ready-file and --output are the same file, lines; choose another --ready-file"
