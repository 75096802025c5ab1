# SPDX-License-Identifier: Apache-2.0
r"""The lines that the OOM killer prints, Linux 3.10 to 7.3, and their fields. Pure.

All patterns are anchored at the beginning of the kernel's text and, where something follows a name, at its end. So a
task's name (any bytes, at most 15) cannot imitate the kernel's text, nor can a cgroup's (any bytes but a newline).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ooMtrace.record import NoKillReason

COMM = r"(?:\\x[0-9a-f]{2}|#[0-9]{3}|.){0,15}"
"""TASK_COMM_LEN; unprintable bytes are `\\xNN`, in rsyslog's files `#NNN`."""

PID, KB = r"[0-9]{1,10}", r"[0-9]{1,20}"
"""A counter that wrapped around has 20 digits."""

NODES = "[0-9,-]*"
"""A list of memory nodes, as `%*pbl` prints it."""

HEADER = re.compile(
    rf"^(?P<comm>{COMM}?) invoked oom-killer: gfp_mask=(?P<raw>(?:0x)?[0-9a-f]{{1,16}})"
    rf"(?:\((?P<flags>[^)]{{0,1024}})\))?,(?: nodemask=(?P<nodemask>\(null\)|{NODES}),)?"
    r" +order=(?P<order>-?[0-9]{1,4}),(?: oom_adj=-?[0-9]+,)? oom_sco[a-z]*_adj=-?[0-9]+ *\Z",
    re.DOTALL,
)
"""dump_header(); flag names from 4.6 on, nodemask= from 4.6 to 4.20."""

CPUSET = re.compile(rf"^(?P<comm>{COMM}) cpuset=(?P<cpuset>.*) mems_allowed=(?P<mems>{NODES})\Z", re.DOTALL)
"""cpuset_print_current_mems_allowed(), a line of its own until 4.20."""

STACK = re.compile(
    rf"^(?:CPU: [0-9]+ )?(?:UID: [0-9]+ )?(?:PID|Pid): (?P<pid>{PID}),? [Cc]omm: (?P<comm>{COMM}) ", re.DOTALL
)
RELEASE = re.compile(r"ainted.* ([0-9]\S{0,63}) #[0-9][^#]*\Z", re.DOTALL)
"""dump_stack_print_info(); `UID:` from 6.13 on."""

USAGE = re.compile(rf"^(memory|swap|memory\+swap): usage ({KB})kB, limit ([0-9]{{1,20}})kB, failcnt [0-9]+\Z")
"""mem_cgroup_print_oom_meminfo(); `swap:` on version 2 from 5.3 on, before that `memory+swap:` on either version."""

FREE_BLOCKS = re.compile(r"^Node [0-9]{1,4} \S{1,16}: [0-9]{1,20}\*([0-9]{1,3})kB ")
"""show_free_areas(): the first kind of block is a page."""

TASK_IN = re.compile(r"^Task in (.*) killed as a result of limit of (.*)\Z", re.DOTALL)
LIMIT_OF = " killed as a result of limit of "
"""mem_cgroup_print_oom_info() until 4.20: the victim's cgroup, and the one at its limit."""

SUMMARY = re.compile(
    rf"^oom-kill:constraint=(?P<constraint>[A-Z_]{{1,32}}),nodemask=(?P<nodemask>\(null\)|{NODES}),"
    rf"(?P<paths>.*),pid=(?P<pid>{PID}),uid=(?P<uid>{PID}) *\Z",
    re.DOTALL,
)
"""dump_oom_summary(), ef8444ea01d7, from 5.0 on."""

OWN_CPUSET = re.compile(rf"cpuset=(.*),mems_allowed=({NODES}),(?:oom_memcg=|global_oom,)", re.DOTALL)
"""The trigger's, in that line, with CONFIG_CPUSETS."""

REASON = r"(?P<reason>Memory cgroup out of memory|Out of memory(?: \([^)]*\))?)"

CHOSEN = re.compile(
    rf"^{REASON}: Kill process (?P<pid>{PID}) \((?P<comm>{COMM})\)"
    r" score (?P<score>-?[0-9]{1,20}) or sacrifice child *\Z",
    re.DOTALL,
)
"""oom_kill_process() until 5.0: the process that it chose; it may kill a child instead (bbbe48029720)."""

KILLED = re.compile(
    rf"^(?:{REASON}: )?Killed process (?P<pid>{PID})(?:, UID (?P<uid0>{PID}),)? \((?P<comm>{COMM})\)"
    rf"(?:, UID (?P<uid1>{PID}),)? total-vm:(?P<total_vm>{KB})kB, anon-rss:(?P<anon>{KB})kB, file-rss:(?P<file>{KB})kB"
    rf"(?:, shmem-rss:(?P<shmem>{KB})kB)?"
    rf"(?:,? UID:(?P<uid2>{PID}))?(?:,? pgtables:(?P<page_tables>{KB})kB)?"
    r"(?:,? oom_score_adj:(?P<adj>-?[0-9]{1,5}))? *\Z",
    re.DOTALL,
)
"""__oom_kill_process(): shmem-rss from 4.5; reason and kill in one line from 5.1; UID, pgtables and oom_score_adj from
5.4 (8ac3f8fe91a2, 70cb6d267790); the older `UID` is Red Hat's."""

CUT = re.compile(
    rf"^(?:{REASON}: )?Killed process (?P<pid>{PID})(?:, UID (?P<uid0>{PID}),)? \("
    rf"(?P<tail>(?P<comm>{COMM})\)(?:, UID (?P<uid1>{PID}),)?"
    rf"(?: total-vm:(?P<total_vm>{KB})kB(?:, anon-rss:(?P<anon>{KB})kB(?:, file-rss:(?P<file>{KB})kB"
    rf"(?:, shmem-rss:(?P<shmem>{KB})kB)?)?)?)?"
    rf"(?:,? UID:(?P<uid2>{PID})(?= ))?(?:,? pgtables:(?P<page_tables>{KB})kB)?"
    rf",?(?: (?P<label>[A-Za-z_-]{{0,13}})(?::-?[0-9]{{0,15}}k?)?)?|{COMM}) *\Z",
    re.DOTALL,
)
"""The beginning of such a line: logs are truncated. A number at the end may lack digits, so it is not read."""

LABELS = ("total-vm", "anon-rss", "file-rss", "shmem-rss", "UID", "pgtables", "oom_score_adj")

SHARING = re.compile(rf"^Kill process (?P<pid>{PID}) \((?P<comm>{COMM})\) sharing same memory\Z", re.DOTALL)
"""oom_kill_process() until 4.7; later kernels kill such processes without a line."""

GROUP = re.compile(r"^Tasks in (.*) are going to be killed due to memory\.oom\.group set\Z", re.DOTALL)
"""mem_cgroup_print_oom_group(), 3d8b38eb81ca, from 4.19 on."""

LIMIT_REACHED = re.compile(r"^Memory limit reached of cgroup (.*)\Z", re.DOTALL)
"""mem_cgroup_print_oom_info() in 4.19 and 4.20: instead of `Task in`, if there is no victim."""

PANIC = "Kernel panic - not syncing: "
NO_KILL: tuple[tuple[re.Pattern[str], NoKillReason], ...] = (
    (re.compile(rf"^(?:{PANIC})?Out of memory and no killable processes[.]{{0,3}}[ \n]*\Z"), "no_killable_process"),
    (re.compile(rf"^{PANIC}System is deadlocked on memory[ \n]*\Z"), "no_killable_process"),
    (re.compile(r"^(?:sysrq: )?OOM request ignored[.] No task eligible[ \n]*\Z"), "no_killable_process"),
    (re.compile(rf"^{PANIC}Out of memory: [a-z-]{{1,16}} panic_on_oom is enabled[ \n]*\Z"), "panic"),
    (re.compile(rf"^{PANIC}out of memory[.] (?:Compulsory )?panic_on_oom is selected[.]?[ \n]*\Z"), "panic"),
)
"""out_of_memory() and check_panic_on_oom(): the last line of a report without a victim. Until 4.18 only the host could
be without a killable process, and the kernel panicked; since 3100dab2aa09 (4.19) it says so for a memory cgroup and for
sysrq, too, and panics afterwards if it is the host. The last form is that of 2.6.35 and earlier."""

SYSTEM_WIDE = f"{PANIC}Out of memory: system-wide panic_on_oom is enabled"
"""vm.panic_on_oom=1: no memory cgroup, cpuset or memory policy restricted the allocation."""

SKIPPED = re.compile(rf"^{REASON}: OOM victim {PID} \({COMM}\) is already exiting", re.DOTALL)
"""__oom_kill_process(), from 5.13 on: after the summary, instead of the kill."""

MARKS = (b"oom-k", b"Kill", b"f lim", b"j nam", b"failc")
"""Every line that can begin a report has one of these: `oom-killer` or `oom-kill:`, `Killed` or `Kill process`,
`a result of limit of`, `oom_score_adj name`, `failcnt`. They are plain bytes because logs of gigabytes are searched for
them, and at most five long: CPython finds these several times as fast (m < 6 in Objects/stringlib/fastsearch.h)."""

JSON_MARKS = (*MARKS, b'E":[', b'E": [', b'" : [')
"""In the journal's JSON a message that is not UTF-8 (a name need not be) is a list of numbers."""


@dataclass(frozen=True, slots=True)
class Summary:
    """`oom-kill:...`; a path is None where a name in it makes it ambiguous, and so are the names of task and cpuset.

    Attributes:
        nodemask: As it is printed: `(null)` if there is none.
    """

    constraint: str
    pid: int
    uid: int
    oom_memcg: str | None
    task_memcg: str | None
    comm: str | None = None
    nodemask: str | None = None
    cpuset: str | None = None
    mems_allowed: str | None = None

    @property
    def names_memcg(self) -> bool:
        """Whether a memory cgroup was out of memory, whatever the constraint is."""
        return self.oom_memcg is not None


@dataclass(frozen=True, slots=True)
class TaskIn:
    """`Task in ... killed as a result of limit of ...`."""

    task_memcg: str
    oom_memcg: str


def parse_summary(text: str) -> Summary | None:
    """Parse the line that begins with `oom-kill:`; None if it is not complete."""
    found = SUMMARY.match(text)
    if not found:
        return None
    names, cpuset = _names(found["paths"]), OWN_CPUSET.match(found["paths"])
    is_certain = cpuset is not None and found["paths"].count(",mems_allowed=") == 1
    return Summary(
        found["constraint"],
        int(found["pid"]),
        int(found["uid"]),
        *names,
        nodemask=found["nodemask"],
        cpuset=cpuset[1] if cpuset and is_certain else None,
        mems_allowed=cpuset[2] if cpuset and is_certain else None,
    )


def parse_no_kill(text: str) -> NoKillReason | None:
    """Return why nothing was killed, if this line says that; None if it says something else."""
    if "emory" not in text and "OOM" not in text:
        return None
    return next((reason for pattern, reason in NO_KILL if pattern.match(text)), None)


def _names(text: str) -> tuple[str | None, str | None, str | None]:
    """Return oom_memcg, task_memcg and task.

    Names may contain anything but a newline, so each key must occur only once.
    """
    domains = text.count(",oom_memcg=") + text.startswith("oom_memcg=")
    whole = text.count("global_oom,") + domains
    if whole != 1 or text.count(",task_memcg=") != 1 or text.count(",task=") != 1:
        return None, None, None
    before, _, after = text.partition(",task_memcg=")
    oom_memcg = before.rpartition("oom_memcg=")[2] if domains else None
    task_memcg, _, comm = after.rpartition(",task=")
    return oom_memcg, task_memcg, comm if re.fullmatch(COMM, comm, re.DOTALL) else None


def parse_kill(text: str) -> dict[str, str | None] | None:
    """Parse the line of a kill, complete or cut off at its end; what it lacks is None."""
    if "Killed process " not in text:
        return None
    if found := KILLED.match(text):
        return found.groupdict()
    found = CUT.match(text)
    if found is None or not any(label.startswith(found["label"] or "") for label in LABELS):
        return None
    return _certain(found)


def _certain(found: re.Match[str]) -> dict[str, str | None]:
    """Drop what a name could imitate: all that follows the parenthesis may still be the name."""
    parts = {name: value for name, value in found.groupdict().items() if name not in ("tail", "label")}
    if re.fullmatch(COMM, found["tail"], re.DOTALL):
        is_name = found["tail"].count(")") == 1 and found["tail"].endswith(")")
        certain = ("pid", "uid0", "reason", "comm") if is_name else ("pid", "uid0", "reason")
        return {name: value if name in certain else None for name, value in parts.items()}
    return parts


def parse_task_in(text: str) -> TaskIn | None:
    """Parse the line that begins with `Task in`; None if a name in it makes it ambiguous."""
    found = TASK_IN.match(text)
    return TaskIn(found[1], found[2]) if found and text.count(LIMIT_OF) == 1 else None
