# SPDX-License-Identifier: Apache-2.0
"""What a cause has killed before, as far as the lines read so far say it. Pure, in bounded memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ooMtrace.explain.amounts import plural, size
from ooMtrace.explain.case import Case
from ooMtrace.explain.facts import Facts

MOST = 10_000
"""Causes that are kept; of more, those that killed last."""


@dataclass(slots=True)
class _Kills:
    number: int
    first: str
    largest: int


class History:
    """Counts kills by cause: the cgroup whose limit was hit, or the host."""

    def __init__(self) -> None:
        self._kills: OrderedDict[tuple[str, ...], _Kills] = OrderedDict()

    def add(self, line: Mapping[str, Any]) -> str:
        """Count a line, and return what its cause had killed before; "" if nothing."""
        case = Case(Facts(line))
        cause = _cause(case)
        if cause is None:
            return ""
        known = self._kills.pop(cause, None)
        earlier = _text(known) if known else ""
        self._kills[cause] = _with(known, case)
        if len(self._kills) > MOST:
            self._kills.popitem(last=False)
        return earlier


def _cause(case: Case) -> tuple[str, ...] | None:
    """Return what identifies the cause; long names only by their ends."""
    path = case.facts.path("oom.memcg.path")
    if case.event != "oom_kill" or case.scope is None or (case.scope == "memcg" and path is None):
        return None
    return case.facts.text("host.name") or "", case.scope, path or ""


def _with(known: _Kills | None, case: Case) -> _Kills:
    died, held = case.facts.time("time"), case.resident or 0
    if known is None:
        return _Kills(1, f"{died:%Y-%m-%d %H:%M:%S} UTC" if died else "", held)
    return _Kills(known.number + 1, known.first, max(known.largest, held))


def _text(known: _Kills) -> str:
    since = f" since {known.first}" if known.first else ""
    largest = f"; the largest held {size(known.largest)}" if known.largest else ""
    return f"{plural(known.number, 'earlier kill')} of this cause in these lines{since}{largest}"
