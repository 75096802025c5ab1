# SPDX-License-Identifier: Apache-2.0
"""A line's whole explanation: at most 25 lines of 80 columns. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ooMtrace.explain.advice import what_to_do
from ooMtrace.explain.aftermath import find_job, left_behind
from ooMtrace.explain.amounts import duration, plural
from ooMtrace.explain.case import Case
from ooMtrace.explain.choice import asked_by, chosen
from ooMtrace.explain.facts import Facts
from ooMtrace.explain.layout import Block, fact, fit, render, two_sided
from ooMtrace.explain.memory import also_killed, memory
from ooMtrace.explain.unknown import not_known
from ooMtrace.explain.who import cause, headline, who
from ooMtrace.output.encode import plain
from ooMtrace.record import Record

EVENTS = ("oom_kill", "oom_dying", "oom_exit", "oom_lost", "oom_no_kill", "sigkill")
NO_KILL = {
    "no_killable_process": "Nothing killed: no process may be killed",
    "panic": "The kernel panicked instead of a kill",
}


def explain(line: Mapping[str, Any], *, earlier: str = "", color: bool = False) -> str:
    """Return what a line says, in sentences; each line of the text ends with a newline.

    Args:
        line: The parsed line, of one of EVENTS. Facts may be missing or of any type.
        earlier: What else the same cause has killed, as far as the lines before say it.
        color: Whether to colour it for a terminal.
    """
    case = Case(Facts(line))
    return render(fit(_blocks(case, earlier)), color=color)


def explain_record(record: Record, *, color: bool = False) -> bytes:
    """Return the explanation of a record, and an empty line after it."""
    return f"{explain(plain(record), color=color)}\n".encode("utf-8", "backslashreplace")


def _blocks(case: Case, earlier: str) -> list[Block]:
    if case.event == "oom_lost":
        return [*_lost(case), *what_to_do(case)]
    if case.event == "oom_no_kill":
        return [_no_kill(case), *memory(case), *asked_by(case), *not_known(case), *what_to_do(case)]
    if case.event == "sigkill":
        blocks = [headline(case), *who(case), *_sender(case), *memory(case), *left_behind(case), *not_known(case)]
        return [*blocks, *find_job(case), *what_to_do(case)]
    if case.event == "oom_exit":
        return [headline(case), *who(case), *left_behind(case), *not_known(case), *find_job(case)]
    return [
        headline(case),
        *who(case),
        *memory(case),
        *chosen(case),
        *asked_by(case),
        *left_behind(case),
        *also_killed(case, earlier),
        *not_known(case),
        *find_job(case),
        *what_to_do(case),
    ]


def _no_kill(case: Case) -> Block:
    left = NO_KILL.get(case.facts.word("oom.reason") or "", "Nothing killed")
    return Block("headline", (two_sided(left, cause(case)),), 0)


def _lost(case: Case) -> list[Block]:
    """Return how many kills have no line, and when they happened."""
    number = case.facts.amount("lost.count")
    left = f"Lost: {plural(number, 'kill') if number is not None else 'kills'} without a line"
    blocks = [Block("headline", (two_sided(left, "counted by the kernel, recorded by nobody"),), 0)]
    begin, end = case.facts.time("lost.from"), case.facts.time("lost.to")
    if begin and end:
        period = f" ({duration(end - begin)})" if end >= begin else ""
        blocks.append(fact("when", [f"{begin:%Y-%m-%d %H:%M:%S} to {end:%Y-%m-%d %H:%M:%S} UTC{period}"], 1))
    if host := case.facts.text("host.name", 64):
        blocks.append(fact("where", [f"host {host}"], 1))
    blocks.append(fact("not known", ["who died, and why: no probe delivered them, and the kernel log lacks them"], 2))
    return blocks


def _sender(case: Case) -> list[Block]:
    """Return who sent the signal."""
    sender = case.facts
    comm, pid = sender.text("sigkill.sender.comm", 20) or "a process", sender.number("sigkill.sender.pid")
    words = [comm if pid is None else f"{comm} (pid {pid})"]
    if path := sender.text("sigkill.sender.executable.path", 100):
        words.append(path)
    if user := sender.text("sigkill.sender.user.name", 32):
        words.append(f"user {user}")
    elif (uid := sender.number("sigkill.sender.user.id")) is not None:
        words.append(f"user id {uid}")
    if unit := sender.text("sigkill.sender.unit", 80):
        words.append(f"unit {unit}")
    if sender.is_true("sigkill.via_cgroup_kill"):
        words.append("through cgroup.kill")
    return [fact("killed by", [", ".join(words)], 1)]
