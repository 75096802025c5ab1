# SPDX-License-Identifier: Apache-2.0
"""`oomtrace explain`: which lines it reads, from where, and what it says of the rest."""

from __future__ import annotations

import gzip
import json
import os
import pty
import re
import subprocess
import sys
import tracemalloc
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
from support.explained import line
from support.probe_events import kill

from ooMtrace import cli
from ooMtrace.commands import explain
from ooMtrace.commands.formats import formatter, takes_color
from ooMtrace.commands.line_file import LONGEST, joined, numbered, read_lines
from ooMtrace.explain.story import explain as story
from ooMtrace.explain.story import explain_record
from ooMtrace.output.encode import encode

ROOT = Path(__file__).parents[3]


def file_of(folder: Path, *rows: Any, name: str = "lines.jsonl") -> Path:
    path = folder / name
    texts = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("".join(f"{text}\n" for text in texts))
    return path


def named(name: str, id_: str) -> dict[str, Any]:
    return {**line(name), "id": id_}


def headlines(text: str) -> list[str]:
    return [row for row in text.splitlines() if re.match(r"(Killed|Lost|Gone|Nothing killed|Not killed)", row)]


@pytest.fixture(autouse=True)
def no_default(monkeypatch, tmp_path):
    monkeypatch.setattr(explain, "DEFAULT", tmp_path / "none")


def test_each_line_of_each_file_is_explained_in_order(tmp_path, capfd):
    one = file_of(tmp_path, line("spike"), line("lost"), name="1")
    two = file_of(tmp_path, line("jvm"), name="2")

    assert cli.main(["explain", str(one), str(two)]) == 0
    out, err = capfd.readouterr()
    assert [row.split()[0:2] for row in headlines(out)] == [["Killed:", "python3"], ["Lost:", "3"], ["Killed:", "java"]]
    assert out.startswith(f"{story(line('spike'))}\n{story(line('lost'))}\nKilled: java")
    assert err == ""


def test_the_kills_before_by_the_same_cause_are_counted(tmp_path, capfd):
    path = file_of(tmp_path, *(line("spike") for _ in range(3)))

    assert cli.main(["explain", str(path)]) == 0
    assert re.findall(r"([0-9]) earlier kills? of this cause", capfd.readouterr().out) == ["1", "2"]


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("not JSON at all", "it is not JSON"),
        ("[1, 2]", "it is not a JSON object"),
        ('{"message": "hello"}', "it has no schema oomtrace/1"),
        (
            '{"schema": "oomtrace/2", "event": "oom_kill"}',
            "its schema is oomtrace/2, and this version knows oomtrace/1",
        ),
        ('{"schema": "oomtrace/1", "event": "party"}', "its event is not known to this version"),
        ('{"schema": "oomtrace/1"}', "its event is not known to this version"),
        ('{"schema": "oomtrace/1", "event": ["oom_kill"]}', "its event is not known to this version"),
        ("\x1b[31m", "it is not JSON"),
    ],
)
def test_what_is_no_line_is_said_with_file_and_number_and_the_others_are_explained(tmp_path, capfd, row, why):
    path = file_of(tmp_path, line("spike"), "", row, line("jvm"))

    assert cli.main(["explain", str(path)]) == 1
    out, err = capfd.readouterr()
    assert err == f"oomtrace: {path}, line 3 is no line of oomtrace: {why}; skipped\n"
    assert len(headlines(out)) == 2


def test_a_file_of_something_else_gives_few_messages(tmp_path, capfd):
    path = file_of(tmp_path, *["x"] * 1000)

    assert cli.main(["explain", str(path)]) == 1
    said = capfd.readouterr().err.splitlines()
    assert len(said) == 11
    assert said[-1] == f"oomtrace: {path}: 990 more are no lines of oomtrace; skipped"


def test_indented_lines_are_read_and_numbered_by_their_first_row(tmp_path):
    text = json.dumps(line("spike"), indent=2)
    path = file_of(tmp_path, text, "{", '  "a": 1', line("jvm"), text)
    found = list(read_lines(str(path)))

    rows = text.count("\n") + 1
    assert [(one.number, one.wrong) for one in found] == [
        (1, ""),
        (rows + 1, "it is not JSON"),
        (rows + 3, ""),
        (rows + 4, ""),
    ]


def test_compressed_files_and_stdin_are_read(tmp_path, capfd, monkeypatch):
    packed = tmp_path / "lines.gz"
    packed.write_bytes(gzip.compress(json.dumps(line("spike")).encode()))
    assert cli.main(["explain", str(packed)]) == 0

    command = [sys.executable, "-m", "ooMtrace", "explain"]
    for operands in ([], ["-"]):
        done = subprocess.run(
            [*command, *operands], input=packed.read_bytes(), capture_output=True, cwd=ROOT, check=False
        )
        assert (done.returncode, done.stdout.decode()) == (0, story(line("spike")))


@pytest.mark.parametrize("operand", ["b", "the-incident"])
def test_an_id_or_an_incident_is_looked_up(tmp_path, capfd, monkeypatch, operand):
    monkeypatch.chdir(tmp_path)
    wanted = named("jvm", "b")
    wanted["oom"] = {**wanted["oom"], "incident": "the-incident"}
    path = file_of(tmp_path, named("spike", "a"), wanted, {**line("lost"), "id": ["b"], "oom": "b"})

    assert cli.main(["explain", operand, "--from", str(path)]) == 0
    assert len(headlines(capfd.readouterr().out)) == 1


def test_an_id_that_no_line_has_is_an_error(tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = file_of(tmp_path, named("spike", "a"))

    assert cli.main(["explain", "c\x1b", "a", "--from", str(path)]) == 1
    out, err = capfd.readouterr()
    assert len(headlines(out)) == 1
    assert err == (
        f"oomtrace: c\\x1b is no file, and {path} has no line with that id; name another file with --from FILE\n"
    )


def test_a_file_whose_name_is_wrong_is_not_only_looked_up_as_an_id(tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)

    assert cli.main(["explain", "lines.jsonk"]) == 1
    assert capfd.readouterr().err.splitlines() == [
        f"oomtrace: {tmp_path}/none: No such file or directory; check the name",
        "oomtrace: lines.jsonk is no file, so it was to be looked up there as an id; name the file with --from FILE",
    ]


def test_an_empty_file_is_said_to_be_empty(tmp_path, capfd):
    path = file_of(tmp_path)

    assert cli.main(["explain", str(path)]) == 0
    assert capfd.readouterr() == ("", f"oomtrace: {path} is empty: it has no lines of oomtrace yet\n")


def test_a_file_that_is_not_there_is_one_message_and_the_others_are_read(tmp_path, capfd):
    path = file_of(tmp_path, line("spike"))

    assert cli.main(["explain", f"{tmp_path}/nowhere", str(tmp_path), str(path)]) == 1
    out, err = capfd.readouterr()
    assert err.splitlines() == [
        f"oomtrace: {tmp_path}/nowhere: No such file or directory; check the name",
        f"oomtrace: {tmp_path}: Is a directory; name the files in it",
    ]
    assert len(headlines(out)) == 1


def test_a_binary_file_is_not_read_as_text(tmp_path, capfd):
    path = tmp_path / "core"
    path.write_bytes(b"\x7fELF" + bytes(100))

    assert cli.main(["explain", str(path)]) == 1
    said = capfd.readouterr().err
    assert (
        said == f"oomtrace: {path}: not text but a program or core dump; name a file with oomtrace's lines, in JSON\n"
    )


def test_without_operands_and_input_the_service_s_file_is_read(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(explain, "stdin_has_log", lambda: False)
    assert cli.main(["explain"]) == 2
    assert capfd.readouterr().err == (
        f"oomtrace: {tmp_path}/none does not exist; name a file with oomtrace's lines: oomtrace explain FILE\n"
    )

    monkeypatch.setattr(explain, "DEFAULT", file_of(tmp_path, line("spike")))
    assert cli.main(["explain"]) == 0


def test_memory_is_bounded_whatever_the_length_of_file_and_line():
    def blocks():
        for _ in range(64):
            yield b"x" * (1 << 20)
        yield b"\nshort\n"

    tracemalloc.start()
    found = list(numbered(blocks()))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert found == [(1, None), (2, b"short")]
    assert peak < 8 * LONGEST


def test_an_object_without_an_end_does_not_swallow_the_rest():
    rows = [(1, b"{"), *((n, b" " + b"x" * 1000) for n in range(2, 3000)), (3000, b"}")]
    found = list(joined(rows))

    assert found[0] == (1, None)
    assert all(len(text or b"") <= LONGEST + 2000 for _, text in found)


@pytest.mark.parametrize(
    ("given", "is_terminal", "default", "expected"),
    [
        ({}, False, "native", encode(kill())),
        ({}, True, "native", encode(kill())),
        ({"pretty": True}, False, "native", encode(kill(), pretty=True)),
        ({"pretty": True}, True, "native", "explained"),
        ({"format": "native", "pretty": True}, True, "native", encode(kill(), pretty=True)),
        ({"format": "explain"}, False, "native", "explained"),
        ({}, True, "explain", "explained"),
        ({}, False, "explain", encode(kill())),
        ({"format": "native"}, True, "explain", encode(kill())),
    ],
)
def test_people_get_sentences_and_programs_get_json(monkeypatch, given, is_terminal, default, expected):
    monkeypatch.setattr(os, "isatty", lambda fd: is_terminal and fd == 7)
    monkeypatch.setenv("NO_COLOR", "1")
    written = formatter(Namespace(**{"pretty": False, "format": None, **given}), 7, default=default)(kill())

    assert written == (explain_record(kill()) if expected == "explained" else expected)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"TERM": "xterm"}, True),
        ({"TERM": "xterm", "NO_COLOR": ""}, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
        ({}, False),
    ],
)
def test_colours_are_for_terminals_that_want_them(environment, expected):
    master, slave = pty.openpty()
    reading, writing = os.pipe()
    try:
        assert takes_color(slave, environment) is expected
        assert takes_color(writing, environment) is False
    finally:
        for fd in (master, slave, reading, writing):
            os.close(fd)


@pytest.mark.parametrize(("more", "begin"), [({}, "\x1b[1;31mKilled: "), ({"NO_COLOR": "1"}, "Killed: ")])
def test_on_a_terminal_the_text_is_coloured_unless_no_color_is_set(tmp_path, more, begin):
    path = file_of(tmp_path, line("spike"))
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "ooMtrace", "explain", str(path)]
    environment = {"TERM": "xterm", "PATH": os.environ["PATH"], **more}
    done = subprocess.run(command, stdout=slave, cwd=ROOT, env=environment, check=False)
    os.close(slave)
    text = os.read(master, 1 << 16).decode()
    os.close(master)

    assert done.returncode == 0
    assert text.startswith(begin)
