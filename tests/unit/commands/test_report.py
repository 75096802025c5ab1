# SPDX-License-Identifier: Apache-2.0
"""`oomtrace report`: what it reads, where it writes, and what it says of the rest."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import pty
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.explained import CAUSES, line
from support.fleet import fleet_lines

from ooMtrace import cli
from ooMtrace.commands import whole_file
from ooMtrace.commands.whole_file import write_whole
from ooMtrace.errors import SinkError, UsageError

ROOT = Path(__file__).parents[3]
KILLS = sum(line(name)["event"] == "oom_kill" for name in CAUSES)


def file_of(folder: Path, *rows: Any, name: str = "lines.log") -> Path:
    path = folder / name
    texts = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("".join(f"{text}\n" for text in texts))
    return path


def kills(document: str) -> int:
    (number,) = re.findall(r"<dt>kills</dt><dd>([0-9,]+)</dd>", document)
    return int(number.replace(",", ""))


def unique(name: str, number: int = 0) -> dict[str, Any]:
    return {**line(name), "id": f"{name}-{number}"}


def test_lines_of_every_kind_and_of_several_files_are_counted_once(tmp_path, capfd):
    rows = [unique(name) for name in CAUSES]
    one = file_of(tmp_path, *rows[:30], name="one")
    two = file_of(tmp_path, *rows[20:], name="two")
    output = tmp_path / "report.html"

    assert cli.main(["report", str(one), str(two), "-o", str(output)]) == 0
    assert capfd.readouterr() == ("", "")
    assert kills(output.read_text()) == KILLS
    assert "10 lines had the event and id of an earlier one" in output.read_text()


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_compressed_and_indented_lines_are_read(tmp_path, compress, capfd):
    path = tmp_path / "lines"
    path.write_bytes(compress(json.dumps(line("spike"), indent=1).encode() + b"\n" + json.dumps(line("jvm")).encode()))

    assert cli.main(["report", str(path)]) == 0
    assert kills(capfd.readouterr().out) == 2


def test_what_is_piped_in_is_read_with_and_without_a_dash(tmp_path):
    data = file_of(tmp_path, line("spike")).read_bytes()
    pages = [
        subprocess.run(
            [sys.executable, "-m", "ooMtrace", "report", *dash], input=data, capture_output=True, cwd=ROOT, check=True
        )
        for dash in (["-"], [])
    ]

    assert kills(pages[0].stdout.decode()) == 1
    assert pages[0].stdout == pages[1].stdout


def test_what_is_no_line_is_said_counted_and_fails(tmp_path, capfd):
    rows = [*("junk" for _ in range(12)), line("spike"), '{"schema": "oomtrace/2", "event": "oom_kill"}', "[1]"]
    path = file_of(tmp_path, *rows)

    assert cli.main(["report", str(path)]) == 1
    out, err = capfd.readouterr()
    assert kills(out) == 1
    assert err.count("is no line of oomtrace: it is not JSON; left out") == 10
    assert err.endswith(f"oomtrace: {path}: 4 more are no lines of oomtrace; left out\n")
    assert "line 3: it is not JSON" in out
    assert re.search(
        r'data-label="lines" class="number">1</td><td [^>]*data-label="no lines" class="number">14</td>', out
    )


def test_a_damaged_file_is_said_and_the_rest_is_reported(tmp_path, capfd):
    data = gzip.compress(b"".join(json.dumps(each).encode() + b"\n" for each in fleet_lines(400)))
    (tmp_path / "cut.gz").write_bytes(data[: len(data) // 2])
    whole = file_of(tmp_path, line("spike"))

    assert cli.main(["report", str(tmp_path / "cut.gz"), str(tmp_path / "none"), str(whole)]) == 1
    out, err = capfd.readouterr()
    assert kills(out) > 50
    assert "cut.gz: damaged" in err
    assert f"{tmp_path / 'none'}: No such file or directory; check the name" in err
    assert "no: No such file or directory" in out


def test_without_a_line_the_old_page_stays_if_a_file_could_not_be_read(tmp_path, capfd):
    output = tmp_path / "report.html"
    output.write_text("old")

    assert cli.main(["report", str(tmp_path / "none"), "-o", str(output)]) == 1
    assert output.read_text() == "old"
    assert capfd.readouterr().err.splitlines()[-1] == (
        "oomtrace: there is not a single line to report on, so no page was written; see the messages above"
    )


def test_an_empty_file_is_no_failure(tmp_path, capfd):
    path = file_of(tmp_path)

    assert cli.main(["report", str(path)]) == 0
    out, err = capfd.readouterr()
    assert "These lines have no kills" in out
    assert err == f"oomtrace: {path} is empty: it has no lines of oomtrace\n"


def test_the_page_is_replaced_as_a_whole_and_keeps_its_mode(tmp_path):
    path, output = file_of(tmp_path, line("spike")), tmp_path / "report.html"
    old = os.umask(0o022)
    try:
        assert cli.main(["report", str(path), "-o", str(output)]) == 0
    finally:
        os.umask(old)
    assert stat.S_IMODE(output.stat().st_mode) == 0o640
    first = output.read_bytes()
    output.chmod(0o604)
    with output.open("rb") as reader:
        assert cli.main(["report", str(path), "--output", str(output)]) == 0
        assert reader.read() == first == output.read_bytes()
        assert os.fstat(reader.fileno()).st_nlink == 0
    assert stat.S_IMODE(output.stat().st_mode) == 0o604
    assert {one.name for one in tmp_path.iterdir()} == {"lines.log", "report.html"}


@pytest.mark.parametrize("kind", ["link", "dangling", "fifo", "directory", "device"])
def test_only_a_regular_file_is_replaced(tmp_path, capfd, kind):
    path, output, other = file_of(tmp_path, line("spike")), tmp_path / "report.html", tmp_path / "other"
    if kind in ("link", "dangling"):
        output.symlink_to(other)
    if kind == "link":
        other.write_text("precious")
    elif kind == "fifo":
        os.mkfifo(output)
    elif kind == "directory":
        output.mkdir()
    elif kind == "device":
        output = Path("/dev/null")

    assert cli.main(["report", str(path), "-o", str(output)]) == 2
    reason = (
        "is a symbolic link; name the file" if "link" in kind or kind == "dangling" else "is not a regular file; name"
    )
    assert f"{output} {reason}" in capfd.readouterr().err
    assert other.exists() == (kind == "link")
    assert Path("/dev/null").is_char_device()


def test_a_link_that_is_put_there_meanwhile_is_replaced_and_not_followed(tmp_path, monkeypatch):
    output, other = tmp_path / "report.html", tmp_path / "other"
    other.write_text("precious")
    output.symlink_to(other)
    monkeypatch.setattr(whole_file, "check_target", lambda path: None)
    write_whole(output, b"new")

    assert (output.read_text(), output.is_symlink(), other.read_text()) == ("new", False, "precious")


def test_a_page_that_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    def fail(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    output = tmp_path / "report.html"
    output.write_text("old")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(SinkError, match=r"report\.html: No space left on device; name another file"):
        write_whole(output, b"new")
    assert [one.read_text() for one in tmp_path.iterdir()] == ["old"]


def test_the_page_is_on_the_disk_before_it_replaces_the_old_one(tmp_path, monkeypatch):
    written = []

    def note(fd: int) -> None:
        written.append((os.fstat(fd).st_size, (tmp_path / "report.html").read_text()))

    (tmp_path / "report.html").write_text("old")
    monkeypatch.setattr(os, "fsync", note)
    write_whole(tmp_path / "report.html", b"new page")

    assert written == [(8, "old")]


def test_a_directory_that_does_not_exist_is_said_in_one_line(tmp_path, capfd):
    path = file_of(tmp_path, line("spike"))

    assert cli.main(["report", str(path), "-o", str(tmp_path / "no/report.html")]) == 1
    assert capfd.readouterr().err.count("\n") == 1
    with pytest.raises(UsageError):
        write_whole(tmp_path, b"")


def test_a_file_is_not_replaced_by_its_own_report(tmp_path, capfd):
    path = file_of(tmp_path, line("spike"))
    before = path.read_bytes()
    os.link(path, tmp_path / "same")

    assert cli.main(["report", str(path), "-o", str(tmp_path / "same")]) == 2
    assert path.read_bytes() == before
    assert "is one of the files to read" in capfd.readouterr().err


def test_a_terminal_gets_no_html(tmp_path):
    path = file_of(tmp_path, line("spike"))
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "ooMtrace", "report", str(path)]
    done = subprocess.run(command, stdout=slave, stderr=subprocess.PIPE, text=True, cwd=ROOT, check=False)
    os.close(slave)
    os.close(master)

    assert (done.returncode, done.stderr) == (
        2,
        "oomtrace: the report is HTML, and stdout is a terminal; name a file: --output report.html\n",
    )


def test_without_anything_to_read_the_usage_is_said():
    command = [sys.executable, "-m", "ooMtrace", "report"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd=ROOT, check=False)

    assert done.returncode == 2
    assert (
        done.stderr
        == "oomtrace: report needs files with oomtrace's lines; oomtrace report FILE... --output report.html\n"
    )


@pytest.mark.parametrize("page", ["docs/report.md", "README.md"])
def test_the_examples_of_the_documentation_work(tmp_path, page):
    data = file_of(tmp_path, line("spike"), name="oomtrace.log").read_bytes()
    for name in ("node1.log", "old.log"):
        (tmp_path / name).write_bytes(data)
    (tmp_path / "node1.log.gz").write_bytes(gzip.compress(data))
    text = "\n".join(re.findall(r"```sh\n(.*?)```", (ROOT / page).read_text(), re.DOTALL))
    examples = re.findall(r"^.*oomtrace report.*$", text, re.MULTILINE)

    assert examples
    for example in examples:
        script = example.replace("/var/log/", "").replace("oomtrace report", f"{sys.executable} -m ooMtrace report")
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        subprocess.run(["sh", "-ec", script], cwd=tmp_path, env=environment, check=True)
        assert kills((tmp_path / "report.html").read_text()) == 1
        (tmp_path / "report.html").unlink()
