# SPDX-License-Identifier: Apache-2.0
"""The alerts for Prometheus, checked and tested by promtool."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

from support.packages import program as debian_program

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy/prometheus/oomtrace.rules.yaml"
DASHBOARD = ROOT / "deploy/grafana/oomtrace.json"
TESTS = ROOT / "tests/fixtures/prometheus/alerts.yaml"


def promtool(*arguments: object) -> str:
    path, more = debian_program("/usr/bin/promtool", "prometheus")
    done = subprocess.run(
        [path, *map(str, arguments)],
        env={**os.environ, **more},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_prometheus_accepts_the_rules():
    assert "SUCCESS" in promtool("check", "rules", "--lint-fatal", RULES)


def test_prometheus_accepts_the_expressions_of_the_dashboard(tmp_path):
    panels = json.loads(DASHBOARD.read_text())["panels"]
    expressions = [target["expr"] for panel in panels for target in panel["targets"]]
    rules = [
        {"record": f"panel:{number}", "expr": re.sub(r"\$__(range|interval)", "5m", expression)}
        for number, expression in enumerate(expressions)
    ]
    file = tmp_path / "rules.yaml"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))

    assert f"{len(rules)} rules found" in promtool("check", "rules", file)


def test_every_alert_fires_when_it_should_and_not_otherwise(tmp_path):
    tests = tmp_path / "alerts.yaml"
    tests.write_text(TESTS.read_text().replace("RULES", str(RULES)))

    assert "SUCCESS" in promtool("test", "rules", tests)
