# SPDX-License-Identifier: Apache-2.0
"""Cases for `ooMtrace.explain` made of a few facts; text without its line breaks."""

from __future__ import annotations

from typing import Any

from ooMtrace.explain.case import Case
from ooMtrace.explain.facts import Facts
from ooMtrace.explain.layout import Block
from support.explained import MIB

MEMCG: dict[str, Any] = {
    "oom.scope": "memcg",
    "oom.verdict": "killed",
    "oom.memcg": {"path": "/a", "usage": 100 * MIB, "limit": 100 * MIB},
    "oom.limit_bytes": 200 * MIB,
    "process.memory": {"anon": 10 * MIB, "file": 0, "shmem": 0, "page_tables": 0, "swap": 0},
    "process.pid": 7,
    "process.tid": 7,
    "process.comm": "worker",
}
"""A process that held a tenth of the limit that was hit."""

GLOBAL: dict[str, Any] = {**MEMCG, "oom.scope": "global", "oom.memcg": None, "oom.limit_bytes": 100 * MIB}


def case(base: dict[str, Any], **facts: Any) -> Case:
    """Return a case with these facts: dots in their names are written as two underscores; None removes a fact."""
    whole: dict[str, Any] = {"event": "oom_kill"}
    for path, value in {**base, **{name.replace("__", "."): value for name, value in facts.items()}}.items():
        *parents, last = path.split(".")
        part = whole
        for parent in parents:
            part[parent] = part = dict(part.get(parent) or {})
        part[last] = value
    return Case(Facts(whole))


def joined(blocks: list[Block]) -> str:
    """Return the text of blocks with single spaces."""
    return " ".join(" ".join(line for block in blocks for line in block.lines).split())
