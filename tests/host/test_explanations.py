# SPDX-License-Identifier: Apache-2.0
"""What the pages for people claim is what the commands beside the claims print here."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from support.tracer import COMMAND

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ("how-the-oom-killer-chooses.md", "a-job-vanished.md", "exit-code-137.md")


def dialogues(page: str) -> list[tuple[str, str]]:
    """Return each command of a page's console examples with the output that is shown below it."""
    found = []
    for block in re.findall(r"```console\n(.*?)```", (DOCS / page).read_text(), re.DOTALL):
        for part in re.split(r"^[#$] ", block, flags=re.MULTILINE)[1:]:
            lines = re.sub(r"^> ", "", part.replace("\n> ", "\n\0"), flags=re.MULTILINE).splitlines(keepends=True)
            command = [lines[0], *(line[1:] for line in lines[1:] if line.startswith("\0"))]
            found.append(("".join(command), "".join(lines[len(command) :])))
    return found


def shape(text: str) -> str:
    return re.sub(r"\d+", "N", text)


@pytest.mark.parametrize(("command", "shown"), [pair for page in PAGES for pair in dialogues(page)])
def test_the_command_prints_what_is_shown(command, shown):
    environment = {**os.environ, "PATH": f"{Path(COMMAND).parent}:{os.environ['PATH']}"}
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, env=environment, check=False)

    assert done.returncode == 0
    if "oomtrace" in command or "vmstat" in command:  # other numbers each time
        assert not shown or shape(done.stdout) == shape(shown)
    else:
        assert done.stdout == shown


def test_the_points_shown_are_a_sum():
    points = re.findall(r'"points":\{"total":(\d+),"rss":(\d+),"swap":(\d+),"page_tables":(\d+),"adj":(\d+)\}', page(0))

    assert [int(total) for total, *_ in points] == [sum(map(int, terms)) for _, *terms in points]


def page(number: int) -> str:
    return (DOCS / PAGES[number]).read_text()
