# SPDX-License-Identifier: Apache-2.0
"""The examples in docs/recipes.md print what is shown; those of the journal are in tests/host/test_journald.py."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from support.explained import changed
from support.receivers import wait_for
from support.recipes import dump, environment, lines, write_logs

PAGE = Path(__file__).parents[2] / "docs/recipes.md"
DIALOGUES = [
    (command[2:].replace("\n> ", "\n"), shown)
    for block in re.findall(r"^```console\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    for command, shown in re.findall(r"^(\$ .*\n(?:> .*\n)*)((?:(?!\$ ).*\n)*)", block, re.MULTILINE)
]


@pytest.fixture(scope="module")
def tools() -> dict[str, str]:
    try:
        return environment()
    except (OSError, subprocess.CalledProcessError) as error:
        promised = os.environ.get("CI") or os.environ.get("OOMTRACE_REQUIRE_KERNEL")
        (pytest.fail if promised else pytest.skip)(f"jq and column are neither installed nor can be had: {error}")


def run(command: str, folder: Path, tools: dict[str, str]) -> str:
    done = subprocess.run(["sh", "-c", command], cwd=folder, env=tools, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def example(*words: str) -> str:
    """Return the only command of the page that has no output shown and contains these words."""
    commands = "\n".join(re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)).splitlines()
    (found,) = (command for command in commands if all(word in command for word in words))
    return found


def example_shown(beginning: str) -> str:
    (found,) = (command for command, _ in DIALOGUES if command.startswith(beginning))
    return found


def test_the_page_has_examples():
    assert len(DIALOGUES) >= 14
    assert all(shown for _, shown in DIALOGUES)


@pytest.mark.parametrize(("command", "shown"), DIALOGUES)
def test_an_example_prints_what_is_shown(command, shown, tools, tmp_path):
    write_logs(tmp_path)

    assert run(command, tmp_path, tools) == shown


def aged(**age: float) -> dict[str, Any]:
    time = datetime.now(timezone.utc) - timedelta(**age)
    message = ", ".join(f"{number} {unit} ago" for unit, number in age.items())
    return changed("spike", {"time": f"{time:%Y-%m-%dT%H:%M:%S.%f}Z", "message": message})


def test_the_last_hour_is_that(tools, tmp_path):
    ages = ({"seconds": 0}, {"minutes": 59}, {"minutes": 61}, {"hours": 25}, {"days": 400})
    loss = lines()[-1]
    (tmp_path / "oomtrace.log").write_text(dump([loss, *(aged(**age) for age in ages)]))

    printed = run(example("now - 3600"), tmp_path, tools)
    assert printed == "0 seconds ago\n59 minutes ago\n"


def test_fromdateiso8601_fails_on_microseconds(tools, tmp_path):
    time = '"2026-11-28T09:44:00.000001Z"'
    done = subprocess.run(["jq", "fromdateiso8601"], input=time, env=tools, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "does not match format" in done.stderr


def test_jq_with_ascii_output_prints_no_control_characters(tools, tmp_path):
    title = "".join(map(chr, [*range(1, 32), *range(126, 161)])) + "\u2028\U000e0001postgres"
    line = changed("spike", {"process.title": title, "process.comm": "postgres"})
    (tmp_path / "oomtrace.log").write_text(dump([line]))

    printed = run(example_shown("jq -a "), tmp_path, tools)
    assert json.loads(printed) == title
    assert {*printed.rstrip("\n")} <= {*map(chr, range(32, 127))}


def test_all_that_logrotate_has_kept_is_read_oldest_first(tools, tmp_path):
    for age, name in enumerate(("oomtrace.log", "oomtrace.log.1", "oomtrace.log.2.gz")):
        text = dump([changed("spike", {"id": name})]).encode()
        (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
        os.utime(tmp_path / name, (1e9 - age, 1e9 - age))

    printed = run(example("zcat"), tmp_path, tools)
    assert [json.loads(line) for line in printed.splitlines()] == [
        "oomtrace.log.2.gz",
        "oomtrace.log.1",
        "oomtrace.log",
    ]


def test_a_file_is_followed_over_its_rotation(tools, tmp_path):
    log, printed = tmp_path / "oomtrace.log", tmp_path / "printed"
    log.write_text(dump(lines()))
    with printed.open("wb") as file:
        command = example("tail").replace("tail", "tail -s 0.05", 1)
        following = subprocess.Popen(
            ["sh", "-c", command], cwd=tmp_path, env=tools, stdout=file, start_new_session=True
        )
    try:
        for name in ("first", "second"):
            # until tail has opened it: with -n 0 it skips what is there at the start
            def append(name: str = name) -> bool:
                with log.open("a") as file:
                    file.write(dump([changed("spike", {"message": name})]))
                return name in printed.read_text()

            wait_for(append)
            log.rename(tmp_path / "oomtrace.log.1")
            log.touch()
        assert set(printed.read_text().splitlines()) == {"first", "second"}
    finally:
        os.killpg(following.pid, 15)
        following.wait()
