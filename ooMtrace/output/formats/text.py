# SPDX-License-Identifier: Apache-2.0
"""The format `text`: one line for people. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ooMtrace.output.terminal import escape_control

MIB = 1 << 20


def to_text(facts: dict[str, Any]) -> bytes:
    """Return when, what, and whose; what a process has named is escaped."""
    details = "; ".join(_details(facts))
    text = f"{facts.get('time') or facts['observed']} {facts['message']}{f' [{details}]' if details else ''}"
    return escape_control(text).encode() + b"\n"


def _details(facts: dict[str, Any]) -> Iterator[str]:
    process, k8s = facts.get("process", {}), facts.get("k8s", {})
    memory = process.get("memory", {})
    if "anon" in memory:
        resident = sum(memory.get(name, 0) for name in ("anon", "file", "shmem"))
        yield f"rss {resident / MIB:.1f} MiB"
    if "oom_score_adj" in process:
        yield f"oom_score_adj {process['oom_score_adj']}"
    user = process.get("user", {})
    if user:
        yield f"user {user.get('name', user.get('id'))}"
    if k8s:
        pod = k8s["pod"].get("name", k8s["pod"]["uid"])
        yield f"pod {'/'.join(filter(None, (k8s.get('namespace', {}).get('name'), pod)))}"
    container = facts.get("container", {})
    if container:
        yield f"container {container.get('name', container['id'][:12])}"
    if "unit" in facts.get("systemd", {}):
        yield f"unit {facts['systemd']['unit']}"
    if facts.get("job", {}).get("join"):
        yield f"{facts['job']['system']} {facts['job']['join']}"
    if "output_dropped_before" in facts:
        yield f"{facts['output_dropped_before']} lines before this one are missing here"
