# SPDX-License-Identifier: Apache-2.0
"""What a run has reported, as Prometheus metrics in the text format 0.0.4. Pure, and safe for several threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from threading import Lock

from ooMtrace import __version__
from ooMtrace.output.subject import subject_of
from ooMtrace.record import OomKill, OomLost, OomNoKill, Record, Sigkill

MAX_SERIES = 1000
"""Combinations of labels of one metric: beyond that, names are replaced by OTHER."""

MAX_KILLERS = 50
OTHER = "_other_"

KILLS = "oomtrace_kills_total"
Labels = tuple[tuple[str, str], ...]

HELP = {
    KILLS: "Processes that the kernel's OOM killer has killed, as reported since oomtrace started.",
    "oomtrace_sigkills_total": "SIGKILLs sent by other killers from user space, such as systemd-oomd.",
    "oomtrace_ooms_without_kill_total": "OOMs in which the kernel killed nothing.",
    "oomtrace_lost_kills_total": "Kills that the kernel counted and that have no line.",
    "oomtrace_dropped_records_total": "Records lost before oomtrace could read them, announced as dropped_before.",
    "oomtrace_output_dropped_lines_total": "Lines that this output had no room for, or that its receiver refused.",
    "oomtrace_last_kill_timestamp_seconds": "Time of the last kill, in seconds since 1970.",
    "oomtrace_level": "Level of the tracer, as a label.",
    "oomtrace_build_info": "Version of oomtrace, as a label.",
}


class Metrics:
    """Counts records.

    Attributes:
        level: The tracer's level; "": not known yet.
        dropped_lines: Returns how many lines each output has dropped.
    """

    def __init__(self) -> None:
        self.level = ""
        self.dropped_lines: Callable[[], Mapping[str, int]] = dict
        self._lock = Lock()
        self._kills: dict[Labels, int] = {}
        self._sigkills: dict[Labels, int] = {}
        self._without_kill = self._lost = self._dropped = 0
        self._last_kill: float | None = None

    def count(self, record: Record) -> None:
        """Count a record that has its line."""
        with self._lock:
            if isinstance(record, OomKill):
                self._dropped += record.dropped_before or 0
                if record.event == "oom_kill":
                    self._count_kill(record)
            elif isinstance(record, OomNoKill):
                self._without_kill += 1
            elif isinstance(record, OomLost):
                self._lost += record.lost.count
            else:
                self._count_sigkill(record)

    def text(self) -> bytes:
        """Return all metrics."""
        with self._lock:
            return "".join(self._lines()).encode("utf-8", "backslashreplace")

    def _count_kill(self, kill: OomKill) -> None:
        subject = subject_of(kill)
        kind: Labels = (("scope", subject.scope), ("verdict", subject.verdict))
        names: Labels = (("namespace", subject.namespace), ("container", subject.container), ("unit", subject.unit))
        if (*kind, *names) not in self._kills and len(self._kills) >= MAX_SERIES:
            names = tuple((label, OTHER) for label, _ in names)
        _add(self._kills, (*kind, *names))
        at = _seconds(kill.time)
        if at is not None:
            self._last_kill = max(at, self._last_kill or at)

    def _count_sigkill(self, sigkill: Sigkill) -> None:
        labels: Labels = (("killer", sigkill.sigkill.sender.comm or ""),)
        if labels not in self._sigkills and len(self._sigkills) >= MAX_KILLERS:
            labels = (("killer", OTHER),)
        _add(self._sigkills, labels)

    def _lines(self) -> Iterator[str]:
        nothing: Labels = ()
        yield from _metric(KILLS, "counter", self._kills)
        yield from _metric("oomtrace_sigkills_total", "counter", self._sigkills)
        yield from _metric("oomtrace_ooms_without_kill_total", "counter", {nothing: self._without_kill})
        yield from _metric("oomtrace_lost_kills_total", "counter", {nothing: self._lost})
        yield from _metric("oomtrace_dropped_records_total", "counter", {nothing: self._dropped})
        outputs: dict[Labels, int] = {(("output", name),): count for name, count in self.dropped_lines().items()}
        yield from _metric("oomtrace_output_dropped_lines_total", "counter", outputs)
        if self._last_kill is not None:
            yield from _metric("oomtrace_last_kill_timestamp_seconds", "gauge", {nothing: self._last_kill})
        if self.level:
            yield from _metric("oomtrace_level", "gauge", {(("level", self.level),): 1})
        yield from _metric("oomtrace_build_info", "gauge", {(("version", __version__),): 1})


def _add(series: dict[Labels, int], labels: Labels) -> None:
    series[labels] = series.get(labels, 0) + 1


def _seconds(time: str | None) -> float | None:
    return datetime.fromisoformat(time.replace("Z", "+00:00")).timestamp() if time else None


def _metric(name: str, kind: str, series: Mapping[Labels, float]) -> Iterator[str]:
    yield f"# HELP {name} {HELP[name]}\n# TYPE {name} {kind}\n"
    for labels, value in series.items():
        pairs = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels)
        yield f"{name}{{{pairs}}} {value!r}\n" if labels else f"{name} {value!r}\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
