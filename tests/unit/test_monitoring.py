# SPDX-License-Identifier: Apache-2.0
"""The Grafana dashboard and the alerts name metrics and labels that are served. tests/host/test_alerts.py runs them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.probe_events import kill, lost
from support.sigkill_events import event, records

from ooMtrace.output.metrics import HELP, Metrics
from ooMtrace.record import Record

ROOT = Path(__file__).parents[2]
DASHBOARD = json.loads((ROOT / "deploy/grafana/oomtrace.json").read_text())
RULES = yaml.safe_load((ROOT / "deploy/prometheus/oomtrace.rules.yaml").read_text())["groups"][0]["rules"]

PROMETHEUS_LABELS = {"instance", "job"}
FOREIGN_METRICS = {"up", "node_vmstat_oom_kill"}
"""Of Prometheus itself and of node_exporter."""


def rule_expressions() -> list[str]:
    return [rule["expr"] for rule in RULES]


def dashboard_expressions() -> list[str]:
    return [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]] + [
        variable["query"]["query"] for variable in DASHBOARD["templating"]["list"][1:]
    ]


def served_labels() -> dict[str, set[str]]:
    """Return the labels of each metric, from what oomtrace serves."""
    metrics = Metrics()
    metrics.level, metrics.dropped_lines = "full", lambda: {"stdout": 1}
    counted: list[Record] = [kill(), lost(), *records(event())]
    for record in counted:
        metrics.count(record)
    found: dict[str, set[str]] = {}
    for name, labels in re.findall(r"^(\w+)(?:\{(.*)\})? ", metrics.text().decode(), re.MULTILINE):
        found.setdefault(name, set()).update(re.findall(r'(\w+)="', labels))
    return found


def metrics_in(expression: str) -> set[str]:
    return set(re.findall(r"\b(?:oomtrace_\w+|node_\w+|up(?=\{))", expression))


def selectors(expression: str) -> Iterator[tuple[str, set[str]]]:
    """Yield each metric with the labels of its selector."""
    for name, labels in re.findall(r"\b([a-z_:0-9]+)\{([^}]*)\}", expression):
        yield name, set(re.findall(r"(\w+)\s*(?:=|!=|=~|!~)\"", labels))


def grouped_labels(text: str) -> set[str]:
    groups = re.findall(r"\b(?:by|on|ignoring|group_left|without) \(([^)]*)\)", text)
    return {label.strip() for group in groups for label in group.split(",")}


def test_every_metric_is_served():
    assert set(served_labels()) == set(HELP)


@pytest.mark.parametrize("expression", [*rule_expressions(), *dashboard_expressions()])
def test_an_expression_names_metrics_and_labels_that_are_served(expression):
    served = served_labels()
    names = metrics_in(expression)

    assert names <= served.keys() | FOREIGN_METRICS
    known = PROMETHEUS_LABELS.union(*served.values())
    assert grouped_labels(expression) <= known
    for name, labels in selectors(expression):
        assert labels <= served.get(name.replace(":kills:increase1h", "_kills_total"), set()) | PROMETHEUS_LABELS, name


def test_the_dashboard_shows_every_metric_and_an_alert_is_about_every_loss():
    assert {name for each in dashboard_expressions() for name in metrics_in(each)} == set(HELP)
    alerts = " ".join(rule_expressions())
    assert {name for name in HELP if "lost" in name or "dropped" in name} <= metrics_in(alerts)


def test_texts_show_labels_that_their_expression_has():
    for rule in RULES:
        shown = set(re.findall(r"\$labels\.(\w+)", json.dumps(rule.get("annotations", {}))))
        kept = grouped_labels(rule["expr"]) if "sum by" in rule["expr"] else None
        assert kept is None or shown <= kept, rule["alert"]
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            shown = set(re.findall(r"\{\{(\w+)\}\}", target.get("legendFormat", "")))
            assert shown <= grouped_labels(target["expr"]), panel["title"]


def test_the_recorded_name_is_the_one_that_alerts_use():
    recorded = {rule["record"] for rule in RULES if "record" in rule}
    used = {name for each in rule_expressions() for name in re.findall(r"\boomtrace:[a-z0-9:]+", each)}

    assert recorded == used


def test_panels_have_an_id_and_a_place_of_their_own_and_one_data_source():
    panels: list[dict[str, Any]] = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for first, second in combinations((panel["gridPos"] for panel in panels), 2):
        apart = [
            first[at] + first[size] <= second[at] or second[at] + second[size] <= first[at] for at, size in ("xw", "yh")
        ]
        assert any(apart), (first, second)
    sources = {json.dumps(part["datasource"]) for panel in panels for part in (panel, *panel["targets"])}
    assert sources == {'{"type": "prometheus", "uid": "${datasource}"}'}


def test_variables_that_are_used_are_defined():
    text = json.dumps([panel["targets"] for panel in DASHBOARD["panels"]])
    used = {name for name in re.findall(r"\$\{?(\w+)", text) if not name.startswith("__")}

    assert used == {variable["name"] for variable in DASHBOARD["templating"]["list"]}
