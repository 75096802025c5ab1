# SPDX-License-Identifier: Apache-2.0
"""What one line of the kernel log means to the report that is open where it was printed. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from ooMtrace.kmsg import grammar
from ooMtrace.kmsg.formats import LogLine
from ooMtrace.kmsg.memcg_stat import HEADING
from ooMtrace.kmsg.report import SIZES, SYSRQ_ORDER, Choice, Header, Killed, NoKill, Report, Selection, Trigger
from ooMtrace.kmsg.task_table import parse_columns

MAX_KILLS = 100_000
"""Per report: further kills get reports of their own, so that no log makes memory grow without bound."""

MAX_KB = 1 << 47
"""More than the address space of any machine (57 bits): a counter that wrapped around."""

POSSIBLE_ADJ = range(-1000, 1001)

MEMORY_LINES = ("memory: ", "memory+swap: ", "swap: ", "Memory cgroup stats for ", "Mem-Info:")
"""How those lines begin that the kernel prints before a kill, never after it."""

PAGES = re.compile(r"^([0-9]{1,13}) pages (RAM|reserved|HighMem/MovableOnly)\Z")
TOTAL_SWAP = re.compile(r"^Total swap = ([0-9]{1,15})kB\Z")


@dataclass(frozen=True, slots=True)
class Start:
    """The line begins a report: the open one is complete."""

    report: Report


@dataclass(frozen=True, slots=True)
class Extend:
    """The line was added to the open report."""


@dataclass(frozen=True, slots=True)
class Ignore:
    """The line is not part of a report."""


Result = Start | Extend | Ignore
EXTEND, IGNORE = Extend(), Ignore()


def read_line(line: LogLine, report: Report | None) -> Result:
    """Read a line.

    Args:
        line: The line; kills have their ordinal.
        report: The open report; changed if the result is Extend.
    """
    for reader in READERS:
        result = reader(line, report)
        if result is not IGNORE:
            return result
    return IGNORE


def _is_incomplete(report: Report | None) -> bool:
    return report is not None and not report.kills


def _header(line: LogLine, report: Report | None) -> Result:
    found = grammar.HEADER.match(line.text) if " invoked oom-killer: " in line.text else None
    if not found:
        return IGNORE
    flags = None if found["flags"] is None else tuple(filter(None, found["flags"].split("|")))
    raw = found["raw"] if found["raw"].startswith("0x") else f"0x{found['raw']}"
    header = Header(found["comm"], raw, flags, int(found["order"]), found["nodemask"])
    tid = int(line.caller[1:]) if line.caller and line.caller.startswith("T") else None
    return Start(Report(line, Trigger(header, tid), after_incomplete=_is_incomplete(report)))


def _summary(line: LogLine, report: Report | None) -> Result:
    if not line.text.startswith("oom-kill:"):
        return IGNORE
    summary = grammar.parse_summary(line.text)
    if summary is None:  # the rest of it may follow
        return Start(Report(line)) if report is None else EXTEND
    if report is None or report.kills or report.selection.choice or _is_lone_summary(report):
        return Start(Report(line, selection=Selection(summary=summary, line=line)))
    report.interleaved |= report.selection.summary is not None
    report.selection.summary, report.selection.line = summary, line
    return EXTEND


def _is_lone_summary(report: Report) -> bool:
    """Return whether nothing but a summary is known, as in a log of which only such lines were kept."""
    return report.selection.line is report.start and report.table is None and not report.memory.counters


def _cgroups(line: LogLine, report: Report | None) -> Result:
    if line.text.startswith("Tasks in "):
        found = grammar.GROUP.match(line.text)
        return _group(line, found[1], report) if found else IGNORE
    task_in = grammar.parse_task_in(line.text)
    if task_in is None:
        return IGNORE
    if report is None or report.kills:
        return Start(Report(line, selection=Selection(task_in=task_in)))
    report.interleaved |= report.selection.task_in is not None
    report.selection.task_in = task_in
    return EXTEND


def _group(line: LogLine, path: str, report: Report | None) -> Result:
    """Read the line that the kernel prints between the first kill of a group and the others."""
    if report is None or not report.kills:
        return Start(Report(line, group=path))
    if report.group is None:
        report.group = path
        return EXTEND
    following = Report(line, group=path)
    if len(report.kills) > 1 and report.kills[-1].line.nth == report.last_nth:
        first = report.kills.pop()  # not a member of this group, but the first victim of the next one
        following = Report(first.line, group=path)
        following.add_kill(first)
    return Start(following)


def _choice(line: LogLine, report: Report | None) -> Result:
    if found := grammar.SHARING.match(line.text):
        killed = Killed(line, int(found["pid"]), found["comm"], None, {}, None, None, sharing=True)
        if report is None or len(report.kills) >= MAX_KILLS:
            return Start(Report(line, kills=[killed]))
        report.kills.append(killed)
        return EXTEND
    if found := grammar.CHOSEN.match(line.text):
        choice = Choice(int(found["pid"]), found["comm"], found["reason"], int(found["score"]))
        if report is None or report.kills or report.selection.choice:
            selection = Selection(choice=choice, line=line)
            return Start(Report(line, selection=selection, after_incomplete=_is_incomplete(report)))
        report.selection.choice, report.selection.line = choice, line
        return EXTEND
    if report and not report.kills and grammar.SKIPPED.match(line.text):
        report.selection = Selection()
        return Start(Report(line))
    return IGNORE


def _no_kill(line: LogLine, report: Report | None) -> Result:
    """Read the end of a report without a victim; if the open one has a victim, the report of this line is lost."""
    reason = grammar.parse_no_kill(line.text)
    if reason is None or report is None:
        return IGNORE
    header, no_kill = report.trigger.header, NoKill(line, reason)
    if "OOM request" in line.text and (header is None or header.order != SYSRQ_ORDER or report.kills):
        return IGNORE  # it follows the line that has ended the report
    if report.kills or report.selection.line or report.selection.task_in:
        return Start(Report(line, no_kill=no_kill))
    report.no_kill = no_kill
    return EXTEND


def _kill(line: LogLine, report: Report | None) -> Result:
    parts = grammar.parse_kill(line.text)
    if parts is None:
        return IGNORE
    killed = _killed(line, parts)
    if report is None or not _belongs(killed, report):
        alone = Report(line)
        alone.add_kill(killed)
        return Start(alone)
    choice = report.selection.choice
    if killed.reason is None and choice and not report.kills:  # until 5.0 the line before has the reason
        killed = replace(killed, reason=choice.reason)
    report.add_kill(killed)
    return EXTEND


def _killed(line: LogLine, parts: dict[str, str | None]) -> Killed:
    known = {name: int(parts[name] or 0) for name in (*SIZES, "pid", "adj") if parts.get(name) is not None}
    uid = parts["uid0"] or parts["uid1"] or parts["uid2"]
    return Killed(
        line,
        known["pid"],
        parts["comm"],
        parts["reason"],
        {name: known[name] for name in SIZES if known.get(name, MAX_KB) < MAX_KB},
        None if uid is None else int(uid),
        known["adj"] if known.get("adj") in POSSIBLE_ADJ else None,
    )


def _belongs(killed: Killed, report: Report) -> bool:
    """Return whether a report may be about this process; in doubt it is not."""
    if len(report.kills) + len(report.repeat_kills) >= MAX_KILLS or (report.kills and report.group is None):
        return False
    if report.kills and killed.reason and report.kills[0].reason not in (None, killed.reason):
        return False  # all of a group are killed for the same reason: oom_kill_memcg_member()
    summary, of_memcg = report.selection.summary, report.selection.of_memcg
    if summary and killed.reason and killed.reason.startswith("Memory cgroup") != of_memcg:
        return False
    row = report.table.row(killed.pid) if report.table else None
    if summary and not report.kills and not report.selection.choice:  # the first to be killed is the chosen one
        return summary.pid in (killed.pid, row.tgid if row else None)
    if report.table and report.table.rows:
        return row is not None
    return report.group is not None or not report.after_incomplete


def _memory(line: LogLine, report: Report | None) -> Result:
    """Read a line that has a meaning only within a report; after kills it is of the next one, whose header is lost.

    A log may begin in the middle of a report, too: only the OOM killer prints a cgroup's counters.
    """
    if report is None and grammar.USAGE.match(line.text):
        report = Report(line)
        _add_memcg(line.text, report)
        return Start(report)
    if report is None or (report.kills and not line.text.startswith(MEMORY_LINES)):
        return IGNORE
    target = Report(line) if report.kills else report
    text = line.text
    if _add_memcg(text, target) or _add_host_memory(text, target) or _add_trigger(text, target):
        return EXTEND if target is report else Start(target)
    return IGNORE


def _add_memcg(text: str, report: Report) -> bool:
    memory = report.memory
    if found := grammar.USAGE.match(text):
        report.interleaved |= found[1] in memory.counters
        memory.counters[found[1]] = (int(found[2]), int(found[3]))
    elif found := HEADING.match(text):
        if memory.stats_memcg is None:
            memory.stats_memcg = found[1]
            memory.stat.add_kib(found[2])
        memory.multiline_stats |= found[2].strip() == ""
    elif found := grammar.LIMIT_REACHED.match(text):
        memory.limited_memcg = found[1]
    elif memory.multiline_stats and report.table is None and report.selection.line is None:
        return memory.stat.add(text)
    return found is not None


def _add_host_memory(text: str, report: Report) -> bool:
    memory = report.memory
    if text == "Mem-Info:":
        report.interleaved |= memory.has_mem_info
        memory.has_mem_info = True
        return True
    if found := PAGES.match(text):
        memory.pages[found[2]] = int(found[1])
    elif found := TOTAL_SWAP.match(text):
        memory.total_swap = int(found[1])
    elif found := grammar.FREE_BLOCKS.match(text):
        memory.page = int(found[1]) * 1024
    return found is not None


def _add_trigger(text: str, report: Report) -> bool:
    trigger = report.trigger
    if trigger.header is None:
        return False
    comm = trigger.header.comm
    if (found := grammar.STACK.match(text)) and text[found.start("comm") :].startswith(f"{comm} "):
        release = grammar.RELEASE.search(text)
        trigger.tid, trigger.kernel = int(found["pid"]), release[1] if release else None
        return True
    if (found := grammar.CPUSET.match(text)) and found["comm"] == comm:
        trigger.cpuset, trigger.mems_allowed = found["cpuset"], found["mems"]
        return True
    return False


def _table(line: LogLine, report: Report | None) -> Result:
    """Read the table of tasks: its first line may be all that is left of what came before."""
    if not line.text.startswith("["):
        return IGNORE
    table = parse_columns(line.text)
    if table is None:
        is_row = report and not report.kills and report.table and report.table.add(line.text)
        return EXTEND if is_row else IGNORE
    if report is None or report.kills:
        return Start(Report(line, table=table))
    report.interleaved |= report.table is not None
    report.table = table
    return EXTEND


READERS: tuple[Callable[[LogLine, Report | None], Result], ...] = (
    *(_table, _header, _summary, _cgroups, _kill, _choice, _no_kill, _memory),
)
