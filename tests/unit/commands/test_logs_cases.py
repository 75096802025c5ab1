# SPDX-License-Identifier: Apache-2.0
"""Whole logs as they lie about: none gives nothing in silence, and a readable one ends with exit code 0."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ooMtrace import cli

CASES = sorted((Path(__file__).parents[2] / "fixtures/kmsg-cases").glob("*.txt*"))
LINES = {"fault-07": 3, "fault-07b": 2, "fault-09": 4, "fault-10": 2, "fault-12b": 0, "ok-07": 3}
"""How many kills a case has that does not have one."""


def test_there_are_cases():
    assert len(CASES) > 70


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_a_log_gives_its_kills_or_an_error(case, tmp_path, capsys):
    output = tmp_path / "lines"
    code = cli.main(["logs", "--output", str(output), str(case)])
    lines = [json.loads(line) for line in output.read_text().splitlines()]

    assert len(lines) == LINES.get(case.stem, 1)
    assert code == (0 if lines else 1)
    assert capsys.readouterr().err.startswith("oomtrace: ")


@pytest.mark.parametrize("case", [case for case in CASES if case.stem.startswith("shape")], ids=lambda case: case.stem)
def test_a_prefix_hides_nothing_of_the_kill(case, tmp_path):
    output = tmp_path / "lines"
    assert cli.main(["logs", "--output", str(output), str(case)]) == 0
    (line,) = [json.loads(one) for one in output.read_text().splitlines()]

    assert 4242 in (line["process"].get("pid"), line["process"].get("tid"))
    assert line["process"]["comm"] == "worker"
    assert line["process"]["memory"]["anon"] == 63488000
    assert (line["process"]["user"]["id"], line["process"]["oom_score_adj"]) == (1000, 0)
