# SPDX-License-Identifier: Apache-2.0
"""The tables of docs/cost.md. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bench.kills import SCENES

Result = Mapping[str, Any]


def between(page: str, name: str, new: str) -> str:
    """Return a page with other text between the two comments that mark a generated part of it.

    Raises:
        ValueError: The page has no such part.
    """
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->\n"
    if page.count(begin) != 1 or page.count(end) != 1:
        raise ValueError(f"the page needs one {begin.strip()} and one {end.strip()}")
    head, rest = page.split(begin)
    _, tail = rest.split(end)
    return f"{head}{begin}\n{new.strip()}\n\n{end}{tail}"


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown; its first row is the head."""
    head, *body = rows
    lines = [head, ["---"] * len(head), *body]
    return "".join(f"| {' | '.join(row)} |\n" for row in lines)


def render(results: Sequence[Result]) -> str:
    """Return the tables of all kernels, and what they were measured with."""
    return "\n".join(_kernel(result) for result in results)


def _kernel(result: Result) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in sorted(result["versions"].items()))
    tools = list(result["tools"])
    costs = [["", "nobody", *tools]]
    for title, nobody, of_tool in ROWS:
        cells = [_cell(of_tool, result["tools"][tool], result["nobody"]) for tool in tools]
        costs.append([title, _cell(nobody, result["nobody"], result["nobody"]), *cells])
    together = result["together"]
    idle = together.get("idle_switches", {})
    costs.append(["context switches in 60 s without a kill", "", *(str(idle.get(tool, "?")) for tool in tools)])
    scenes = [["reported, of the processes that were killed", "killed", *tools]]
    for name, scene in together.get("scenes", {}).items():
        scenes.append([SCENES[name].title, str(scene["true"]), *(_reported(scene[tool]) for tool in tools)])
    piped = [str(found.get("piped_lines", "?")) for found in result["tools"].values()]
    scenes.append(["3 kills, 5 s later, in a plain pipe", "3", *piped])
    return f"Linux {result['kernel']}; {versions}:\n\n{table(costs)}\n{table(scenes)}"


def _reported(found: Mapping[str, int]) -> str:
    return f"{found['true']}, and {found['false']} not killed" if found["false"] else str(found["true"])


Cell = Callable[[Result, Result], str]


def _cell(cell: Cell | None, measured: Result, nobody: Result) -> str:
    if cell is None:
        return ""
    try:
        return cell(measured, nobody)
    except KeyError:  # a step that failed
        return "?"


def _number(*names: str, scale: float = 1, digits: int = 1) -> Cell:
    def cell(measured: Result, _: Result) -> str:
        value: Any = measured
        for name in names:
            value = value[name]
        return f"{value * scale:,.{digits}f}"

    return cell


def _pair(name: str) -> Cell:
    return lambda measured, _: f"{measured[name]['p50']:.2f} / {measured[name]['p99']:.2f}"


def _sizes(name: str) -> Cell:
    return lambda measured, _: " / ".join(f"{measured[name][kind] / 1024:.1f}" for kind in ("rss", "pss", "private"))


def _ratio(name: str) -> Cell:
    return lambda measured, nobody: f"{measured[name] / nobody[name]:.2f}"


ROWS: tuple[tuple[str, Cell | None, Cell], ...] = (
    ("first start: exec to attached probes, s", None, _number("first_ready_s", digits=2)),
    ("second start, s", None, _number("ready_s", digits=2)),
    ("memory then, MiB: RSS / PSS / private", None, _sizes("memory_kb")),
    ("memory after 220 kills, MiB", None, _sizes("memory_after_kb")),
    ("100 kills, 4 at once: s, and times as long as with nobody", _number("storm_s", digits=2), _ratio("storm_s")),
    ("lines of these", None, _number("storm_lines", digits=0)),
    ("mark to line, one kill at a time, ms: median / p99", None, _pair("paced_latency_ms")),
    ("mark to line, 4 at once, ms: median / p99", None, _pair("storm_latency_ms")),
    ("in the kernel, us per kill", None, _number("kernel_us")),
    ("CPU time per kill, ms", None, _number("storm_cpu_ms")),
    ("a signal, us", _number("signal_ns", scale=1e-3, digits=2), _number("signal_ns", scale=1e-3, digits=2)),
    ("an exec, us", _number("exec_ns", scale=1e-3, digits=0), _number("exec_ns", scale=1e-3, digits=0)),
    ("instructions that the verifier followed", None, _number("verified", digits=0)),
)
