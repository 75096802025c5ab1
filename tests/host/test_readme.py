# SPDX-License-Identifier: Apache-2.0
"""The README's examples are what the demo and doctor print: the same facts, with other values."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from support.tracer import COMMAND

from ooMtrace.record import OomLost

README = Path(__file__).parent.parent.parent / "README.md"


def names(value: Any, prefix: str = "") -> Iterator[str]:
    if not isinstance(value, dict):
        yield prefix
        return
    for name, part in value.items():
        yield from names(part, f"{prefix}.{name}")


def example() -> dict[str, Any]:
    found = re.search(r"```json\n(.*?)```", README.read_text(), re.DOTALL)
    assert found
    return json.loads(found[1])


def test_the_example_in_the_readme_is_what_the_demo_prints(validate):
    shown = example()
    done = subprocess.run([COMMAND, "--level", shown["fidelity"], "demo"], capture_output=True, check=True)

    validate(shown)
    line = json.loads(done.stdout)
    assert list(names(line)) == list(names(shown))
    assert line["missing"] == shown["missing"]
    assert line["derived"] == shown["derived"]
    points = shown["oom"]["points"]
    assert points["total"] == points["rss"] + points["swap"] + points["page_tables"] + points["adj"]


def test_the_loss_in_the_readme_is_one(validate):
    (shown,) = re.findall(r"^\{.*oom_lost.*\}$", README.read_text(), re.MULTILINE)

    validate(json.loads(shown))
    assert list(json.loads(shown)) == [one.name for one in fields(OomLost)]


def test_the_report_in_the_readme_is_what_doctor_says():
    found = re.search(r"```console\n\$ oomtrace doctor\n(.*?)```", README.read_text(), re.DOTALL)
    assert found
    done = subprocess.run([COMMAND, "doctor"], capture_output=True, text=True, check=True)

    def names(report: str) -> list[str]:
        return re.findall(r"^(\S.{13}) (?:ok|NO) ", report, re.MULTILINE)

    def unnumbered(report: str) -> str:
        return re.sub(r"\d+\.\d+[\w.-]*", "N", report)

    assert names(done.stdout) == names(found[1])
    assert len(names(done.stdout)) == 15
    if re.findall(r"^plan: (\w+)", done.stdout, re.MULTILINE) == re.findall(r"^plan: (\w+)", found[1], re.MULTILINE):
        assert unnumbered(done.stdout) == unnumbered(found[1])


def test_the_commands_in_the_readme_exist():
    usage = subprocess.run([COMMAND, "--help"], capture_output=True, text=True, check=True).stdout
    makefile = README.with_name("Makefile").read_text()
    readme = README.read_text()

    options = set(re.findall(r"oomtrace (--[a-z-]+)", readme)) | set(re.findall(r"`(--[a-z-]+)[ `]", readme))
    assert options
    assert options <= set(re.findall(r"--[a-z-]+", usage))
    targets = set(re.findall(r"make ([a-z][a-z0-9-]+)", readme)) - {"one"}
    assert targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
