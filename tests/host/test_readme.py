# SPDX-License-Identifier: Apache-2.0
"""The documented examples are what `demo` and `doctor` print here: the same fields, with other values."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from support.tracer import COMMAND, Line

from ooMtrace.record import OomLost

ROOT = Path(__file__).parents[2]
README, LINE, GUARANTEES = ROOT / "README.md", ROOT / "docs/line.md", ROOT / "docs/guarantees.md"


def field_paths(value: Any, prefix: str = "") -> Iterator[str]:
    if not isinstance(value, dict):
        yield prefix
        return
    for name, part in value.items():
        yield from field_paths(part, f"{prefix}.{name}")


def example(page: Path) -> Line:
    found = re.search(r"```json\n(.*?)```", page.read_text(), re.DOTALL)
    assert found
    return json.loads(found[1])


def unnumbered(text: str) -> str:
    """The name of the interpreter, too, is without its number: pip writes `python`, `python3` or `python3.11`."""
    return re.sub(r"\d+(?:\.\d+[\w.-]*)?", "N", re.sub(r"\bpython[\d.]*", "python", text))


@pytest.fixture(scope="module")
def line() -> Line:
    """One line of the demo at the level of the examples."""
    level = example(LINE)["fidelity"]
    done = subprocess.run([COMMAND, "--level", level, "demo"], capture_output=True, check=True)
    return json.loads(done.stdout)


def test_the_documented_line_has_the_fields_of_the_demo(line, validate):
    shown = example(LINE)

    validate(shown)
    assert list(field_paths(line)) == list(field_paths(shown))
    assert line["missing"] == shown["missing"]
    assert line["derived"] == shown["derived"]
    assert unnumbered(line["message"]) == unnumbered(shown["message"])
    points = shown["oom"]["points"]
    assert points["total"] == points["rss"] + points["swap"] + points["page_tables"] + points["adj"]


def test_the_excerpt_in_the_readme_has_only_fields_of_the_demo(line):
    shown = example(README)

    assert set(field_paths(shown)) <= set(field_paths(line))
    assert unnumbered(line["message"]) == unnumbered(shown["message"])
    for name in ("scope", "verdict"):
        assert line["oom"][name] == shown["oom"][name]


def test_the_documented_loss_has_the_fields_of_one(validate):
    (shown,) = re.findall(r"^\{.*oom_lost.*\}$", GUARANTEES.read_text(), re.MULTILINE)

    validate(json.loads(shown))
    assert list(json.loads(shown)) == [one.name for one in fields(OomLost) if one.name != "output_dropped_before"]


def test_the_report_in_the_readme_is_what_doctor_prints():
    found = re.search(r"```console\n\$ oomtrace doctor\n(.*?)```", README.read_text(), re.DOTALL)
    assert found
    done = subprocess.run([COMMAND, "doctor"], capture_output=True, text=True, check=True)

    def check_names(report: str) -> list[str]:
        return re.findall(r"^(\S.{13}) (?:ok|NO) ", report, re.MULTILINE)

    def without_versions(report: str) -> str:
        return re.sub(r"\d+\.\d+[\w.-]*", "N", report)

    assert check_names(done.stdout) == check_names(found[1])
    assert len(check_names(done.stdout)) == 16
    if re.findall(r"^plan: (\w+)", done.stdout, re.MULTILINE) == re.findall(r"^plan: (\w+)", found[1], re.MULTILINE):
        assert without_versions(done.stdout) == without_versions(found[1])
