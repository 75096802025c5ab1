# SPDX-License-Identifier: Apache-2.0
"""The sizes in docs/fleet.md are those of lines."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path
from statistics import mean, median
from typing import Any

import pytest
from fleet.generator import write_fleet
from support.recorded_kills import RECORDINGS, lines

from ooMtrace.output.encode import dump_line
from ooMtrace.output.formats import FORMATS, OBJECTS
from ooMtrace.output.formats.text import to_text

PAGE = (Path(__file__).parents[3] / "docs/fleet.md").read_text()
GENERATED = 1000
QUEUE = 4 << 20


def number(text: str) -> float:
    return float(text.replace(",", ""))


def sizes() -> dict[str, list[float]]:
    rows = re.findall(r"^\| `(\w+)` \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \|$", PAGE, re.MULTILINE)
    return {name: [*map(number, row)] for name, *row in rows}


def projection(name: str) -> Callable[[dict[str, Any]], bytes]:
    if name == "text":
        return to_text
    project = OBJECTS.get(name, dict)
    return lambda facts: dump_line(project(facts))


@pytest.fixture(scope="module")
def generated(tmp_path_factory) -> list[dict[str, Any]]:
    file = tmp_path_factory.mktemp("fleet") / "lines.json"
    write_fleet(file, GENERATED)
    return [json.loads(line) for line in file.read_text().splitlines()[:GENERATED]]


def test_the_page_has_every_format():
    assert sizes().keys() == {*FORMATS}


@pytest.mark.parametrize("name", FORMATS)
def test_bytes_of_a_line_are_as_documented(generated, name):
    project = projection(name)
    recorded = [len(project(json.loads(line))) for each in RECORDINGS for line in lines(each)]
    made = [project(facts) for facts in generated]

    found = [median(recorded), mean(map(len, made)), len(gzip.compress(b"".join(made))) / len(made)]
    assert sizes()[name] == pytest.approx(found, rel=0.05)


def test_what_follows_from_the_size_of_a_line_is_computed_from_it():
    (size, *_) = sizes()["native"]
    day = 86400 * size

    per_day = [number(text) for text in re.findall(r"\| ([\d,]+) MB a day \|", PAGE)]
    per_year = [number(text) for text in re.findall(r"\| ([\d.]+) GB \|", PAGE)]
    (rate,) = (number(text) for text in re.findall(r"\| (\d+) kB/s \|", PAGE))
    (queued,) = (number(text) for text in re.findall(r"holds about ([\d,]+) lines", PAGE))
    assert per_day == pytest.approx([10_000 * size / 1e6, day / 1e6], rel=0.02)
    assert per_year == pytest.approx([365 * 10_000 * size / 1e9, 365 * day / 1e9], rel=0.02)
    assert rate == pytest.approx(100 * size / 1e3, rel=0.02)
    assert queued == pytest.approx(QUEUE / size, rel=0.05)
