# SPDX-License-Identifier: Apache-2.0
"""From lines of the kernel log to reports of OOM kills: line by line, in memory that does not grow with the log. Pure.

The kernel runs one OOM at a time (oom_lock) and prints it as header, stack, memory, table, summary and kills. What
other CPUs print stands between; header to summary are rate-limited away in a storm (oom_rs), logs are cut. So each
part may be absent, and a kill belongs to a report only where nothing contradicts it: else it stands for itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from ooMtrace.kmsg import grammar
from ooMtrace.kmsg.formats import LogLine
from ooMtrace.kmsg.report import SIZES, SYSRQ_ORDER, Header, Killed, Report
from ooMtrace.kmsg.task_table import table

PATIENCE, PATIENCE_AFTER_KILL = 2000, 200
"""Lines in a row that say nothing to a report before it is over: stacks, free lists and slabs are long."""

GAP_NS, GAP_IN_GROUP_NS, GAP_IN_REPORT_NS = 60_000_000_000, 2_000_000_000, 3_000_000_000
"""The same by the kernel's clock. After the kill: a group is killed in one go, and what dies later may be somebody
else, whose report was rate-limited away; sharers may be late. Before it: from one line of the log to the next."""

CLOCKS_APART_NS = 1_000_000_000
"""Two CPUs may stamp their lines out of order; what is earlier by more is another boot."""

CALLERS = 64
"""How many reports may be open at once, where the log names who printed a line."""

MOST_KILLS = 100_000
"""In one report: what goes on is then told by itself, so that no log can make us grow without bound."""

BEFORE_KILLS = ("memory: ", "memory+swap: ", "swap: ", "Memory cgroup stats for ", "Mem-Info:")

STATS = re.compile(r"^Memory cgroup stats for (.*?):((?: \w+:\d+KB)*) *\Z", re.DOTALL)
PAGES = re.compile(r"^(\d{1,13}) pages (RAM|reserved|HighMem/MovableOnly)\Z")
TOTAL_SWAP = re.compile(r"^Total swap = (\d{1,15})kB\Z")


class ReportParser:
    """Takes the log line by line and hands out a report when nothing more can belong to it.

    Attributes:
        killed: How many kills there were so far; the kernel prints one line for each that it counts.
    """

    def __init__(self) -> None:
        self.killed = 0
        self._open: dict[str | None, Report] = {}
        self._head = ""

    @property
    def idle(self) -> bool:
        """Whether only a line with one of grammar.MARKS can say anything."""
        return not self._open

    def feed(self, line: LogLine) -> Iterator[Report]:
        """Take a line; yield the reports that it ends."""
        yield from self._tired(line)
        line = self._counted(self._joined(line))
        before = self._open.get(line.caller)
        found = _read(line, before)
        if found is before or found is None:
            return
        if before is not None:
            del self._open[line.caller]
            yield from _finished(before)
        while len(self._open) >= CALLERS:
            yield from _finished(self._open.pop(next(iter(self._open))))
        self._open[line.caller] = found

    def drain(self) -> Iterator[Report]:
        """Yield what is still open: the log is at its end."""
        for report in self._open.values():
            yield from _finished(report)
        self._open.clear()

    def _tired(self, line: LogLine) -> Iterator[Report]:
        """End the reports that nothing has been added to for long."""
        for caller, report in list(self._open.items()):
            report.quiet += 1
            if report.quiet > (PATIENCE_AFTER_KILL if report.kills else PATIENCE) or _later(report, line):
                del self._open[caller]
                yield from _finished(report)

    def heard(self) -> Iterator[Report]:
        """Yield what is still open."""
        yield from self._open.values()

    def settle(self) -> Iterator[Report]:
        """Yield the reports that tell of a kill."""
        for caller, report in list(self._open.items()):
            if report.kills:
                del self._open[caller]
                yield from _finished(report)

    def _counted(self, line: LogLine) -> LogLine:
        if "Killed process " not in line.text or not grammar.KILLED.match(line.text):
            return line
        self.killed += 1
        return replace(line, nth=self.killed)

    def _joined(self, line: LogLine) -> LogLine:
        """Put together what pr_cont() printed in parts, when somebody else's line came between."""
        if self._head and line.text.startswith((",", grammar.LIMIT_OF)):
            line = replace(line, text=self._head + line.text)
        self._head = line.text[:4096] if line.text.startswith(("oom-kill:", "Task in ")) else self._head
        return line


def _later(report: Report, line: LogLine) -> bool:
    """Say whether this line is too late, by the kernel's clock, to belong to the report."""
    last, gap = (report.last or report.start).ktime, GAP_IN_GROUP_NS if report.group is not None else GAP_NS
    if not report.kills:
        last, gap = report.heard or last, GAP_IN_REPORT_NS
    report.heard = line.ktime
    return last is not None and line.ktime is not None and not -CLOCKS_APART_NS <= line.ktime - last <= gap


def _finished(report: Report) -> Iterator[Report]:
    named = (report.summary and report.summary.oom_memcg) or (report.task_in and report.task_in[1])
    report.mixed |= bool(named and report.stats_of and named != report.stats_of)
    if report.summary:
        of_memcg = report.summary.constraint == "CONSTRAINT_MEMCG"
        report.mixed |= report.whole_host if of_memcg else bool(report.usage)
        by_sysrq = report.header is not None and report.header.order == SYSRQ_ORDER
        report.mixed |= by_sysrq and report.summary.constraint != "CONSTRAINT_NONE"
    if report.kills:
        yield report


def _read(line: LogLine, report: Report | None) -> Report | None:
    """Return the report that this line belongs to: the same, a new one or none."""
    for reader in (_task, _header, _summary, _cgroups, _kill, _choice, _detail):
        found = reader(line, report)
        if found is not None:
            found.last, found.quiet = line, 0
            return found
    return None


def _header(line: LogLine, report: Report | None) -> Report | None:
    found = grammar.HEADER.match(line.text) if " invoked oom-killer: " in line.text else None
    if not found:
        return None
    flags = None if found["flags"] is None else tuple(filter(None, found["flags"].split("|")))
    raw = found["raw"] if found["raw"].startswith("0x") else f"0x{found['raw']}"
    header = Header(found["comm"], raw, flags, int(found["order"]), found["nodemask"])
    tid = int(line.caller[1:]) if line.caller and line.caller.startswith("T") else None
    return Report(line, header, trigger_tid=tid, suspect=report is not None and not report.kills)


def _summary(line: LogLine, report: Report | None) -> Report | None:
    if not line.text.startswith("oom-kill:"):
        return None
    found = grammar.summary(line.text)
    if found is None:  # the rest of it may follow
        return report or Report(line)
    if report is None or report.kills or report.chosen:
        return Report(line, summary=found)
    report.mixed |= report.summary is not None
    report.summary = found
    return report


def _cgroups(line: LogLine, report: Report | None) -> Report | None:
    if line.text.startswith("Tasks in "):
        group = grammar.GROUP.match(line.text)
        return _group(line, group[1], report) if group else None
    found = grammar.task_in(line.text)
    if found is None:
        return None
    if report is None or report.kills:
        return Report(line, task_in=found)
    report.mixed |= report.task_in is not None
    report.task_in = found
    return report


def _group(line: LogLine, path: str, report: Report | None) -> Report | None:
    """The kernel prints this between the first kill of a group and the others."""
    if report is None or not report.kills:
        return Report(line, group=path)
    if report.group is None:
        report.group = path
        return report
    first = report.kills.pop()  # that was no member, but the next first
    return Report(first.line, kills=[first], dead={first.number}, group=path)


def _choice(line: LogLine, report: Report | None) -> Report | None:
    if found := grammar.SHARING.match(line.text):
        if report is None or len(report.kills) >= MOST_KILLS:
            report = Report(line)
        report.kills.append(Killed(line, int(found["pid"]), found["comm"], None, {}, None, None, sharing=True))
        return report
    if found := grammar.CHOSEN.match(line.text):
        if report is None or report.kills or report.chosen:
            report = Report(line, suspect=report is not None and not report.kills)
        report.chosen = (int(found["pid"]), found["why"])
        return report
    if line.text.startswith(grammar.NO_VICTIM) and report:
        return Report(line)
    return None


def _kill(line: LogLine, report: Report | None) -> Report | None:
    found = grammar.KILLED.match(line.text) if "Killed process " in line.text else None
    if not found:
        return None
    uid = found["uid0"] or found["uid1"] or found["uid2"]
    killed = Killed(
        line,
        int(found["pid"]),
        found["comm"],
        found["why"],
        {name: int(found[name]) for name in SIZES if found[name] is not None},
        None if uid is None else int(uid),
        None if found["adj"] is None else int(found["adj"]),
    )
    if report is None or not _belongs(killed, report):
        return Report(line, kills=[killed], dead={killed.number})
    if killed.why is None and report.chosen and not report.kills:  # until 5.0 the line before has the reason
        killed = replace(killed, why=report.chosen[1])
    if killed.number in report.dead:  # a group's first victim is killed twice
        report.again.append(line.nth)
    else:
        report.kills.append(killed)
        report.dead.add(killed.number)
    return report


def _belongs(killed: Killed, report: Report) -> bool:
    """Say whether a report may be about this process; in doubt it is not."""
    if len(report.kills) + len(report.again) >= MOST_KILLS or (report.kills and report.group is None):
        return False
    of_memcg = killed.why is not None and killed.why.startswith("Memory cgroup")
    if report.summary and killed.why and of_memcg != (report.summary.constraint == "CONSTRAINT_MEMCG"):
        return False
    row = report.table.row(killed.number) if report.table else None
    if report.summary and not report.kills and not report.chosen:  # the first to die is the one that was chosen
        return report.summary.pid in (killed.number, row.tgid if row else None)
    if report.table and report.table.rows:
        return row is not None
    if report.group is not None:
        return True
    return not report.suspect


def _detail(line: LogLine, report: Report | None) -> Report | None:
    """Take a line that means something within a report only; after its kills it is another's, whose header is lost."""
    text = line.text
    if report is None or (report.kills and not text.startswith(BEFORE_KILLS)):
        return None
    if report.kills:
        report = Report(line)
    if found := grammar.USAGE.match(text):
        report.mixed |= found[1] in report.usage
        report.usage[found[1]] = (int(found[2]), int(found[3]))
    elif found := STATS.match(text):
        report.stats_of = found[1] if report.stats_of is None else report.stats_of
        report.stats |= found[2].strip() == ""
    elif text == "Mem-Info:":
        report.mixed |= report.whole_host
        report.whole_host = True
    elif found := PAGES.match(text):
        report.pages[found[2]] = int(found[1])
    elif found := TOTAL_SWAP.match(text):
        report.total_swap = int(found[1])
    elif not _trigger(text, report):
        return None
    return report


def _task(line: LogLine, report: Report | None) -> Report | None:
    """Take the table: its first line may be all that is left of what came before."""
    if not line.text.startswith("["):
        return None
    begun = table(line.text)
    if begun is None:
        return report if report and report.table and report.table.add(line.text) else None
    if report is None or report.kills:
        return Report(line, table=begun)
    report.mixed |= report.table is not None
    report.table = begun
    return report


def _trigger(text: str, report: Report) -> bool:
    if report.header is None:
        return False
    comm = report.header.comm
    if (found := grammar.STACK.match(text)) and text[found.start("comm") :].startswith(f"{comm} "):
        release = grammar.RELEASE.search(text)
        report.trigger_tid, report.kernel = int(found["pid"]), release[1] if release else None
        return True
    if (found := grammar.CPUSET.match(text)) and found["comm"] == comm:
        report.cpuset = (found["cpuset"], found["mems"])
        return True
    return False
