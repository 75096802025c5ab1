# SPDX-License-Identifier: Apache-2.0
"""The dashboard fits the models of Grafana's own SDK, which leave out what they do not know."""

from __future__ import annotations

import json
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

FILE = Path(__file__).parents[2] / "deploy/grafana/oomtrace.json"


def is_part(part: object, whole: object) -> bool:
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(name in whole and is_part(part[name], whole[name]) for name in part)
    if isinstance(part, list):
        return isinstance(whole, list) and len(part) == len(whole) and all(map(is_part, part, whole))
    return part == whole


def test_grafanas_models_keep_everything_in_the_dashboard():
    dashboard = json.loads(FILE.read_text())
    read = json.loads(json.dumps(Dashboard.from_json(dashboard), cls=JSONEncoder))

    assert is_part(dashboard, read)
