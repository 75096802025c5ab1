# SPDX-License-Identifier: Apache-2.0
"""Suggestions about what ran out and why this process was chosen. Pure."""

from __future__ import annotations

from ooMtrace.explain.amounts import count, percent, plural, size
from ooMtrace.explain.case import Case
from ooMtrace.explain.facts import Facts
from ooMtrace.explain.layout import cut

MANY = 50
MOST_NAMED = 3
MOST_PATH = 60
FULL_ADJ = 1000
HINTS = {
    "systemd-oomd": "oomctl shows its limits; ManagedOOMPreference=avoid in the unit makes it choose another one",
    "earlyoom": "its options -m and -s are the free memory and swap below which it kills; --avoid spares names",
    "nohang": "its configuration has the limits, and badness adjustments by name",
    "oomd": "its configuration has the rule that fired",
    "lmkd": "its properties ro.lmk.* have the limits",
    "bustd": "its options are the limits at which it kills",
}


def sysrq(case: Case) -> str | None:
    """Someone asked the kernel for a kill."""
    if case.scope != "sysrq":
        return None
    sentence = "Find out who requested it; the kernel log says `sysrq: Manual OOM execution` at that time"
    return f"{sentence}. kernel.sysrq without bit 64 forbids it."


def nodes(case: Case) -> str | None:
    """A part of the NUMA nodes was allowed and ran out."""
    if case.scope not in ("cpuset", "mempolicy"):
        return None
    allowed = case.facts.text("oom.nodemask", 40) or case.facts.text("oom.mems_allowed", 40)
    which = f"Only NUMA nodes {allowed} were allowed" if allowed else "Only some NUMA nodes were allowed"
    if allowed and allowed.isascii() and allowed.isdigit():
        which = f"Only NUMA node {allowed} was allowed"
    name = case.facts.text("oom.cpuset", 80)
    how = {
        "cpuset": f"allow more in cpuset.mems{f' of {name}' if name and name != '/' else ''}",
        "mempolicy": "change the policy (numactl --preferred in place of --membind)",
    }
    return f"{which}, and other nodes may have had free memory: {how[case.scope]}."


def unkillable(case: Case) -> str | None:
    """No process could be killed."""
    if case.facts.word("oom.reason") != "no_killable_process":
        return None
    exempt = [one for one in case.facts.parts("oom.candidates") if one.number("oom_score_adj") == -FULL_ADJ]
    named = f" of {_names(exempt)}" if exempt else ""
    return f"No process may be killed here: raise oom_score_adj{named}, which is -1000, or the limit."


def panic(case: Case) -> str | None:
    """The kernel panics in place of a kill."""
    if case.facts.word("oom.reason") != "panic":
        return None
    return "vm.panic_on_oom makes the kernel panic: set it to 0 if a killed process is better than a reboot."


def lost(case: Case) -> str | None:
    """Kills have no line."""
    if case.event != "oom_lost" or (number := case.facts.amount("lost.count")) is None:
        return None
    which = "it" if number == 1 else f"the {count(number)}"
    return f"Look for {which} in other logs of that time: a remote syslog, or journalctl -k piped to `oomtrace logs`."


def memory_killer(case: Case) -> str | None:
    """A process in user space killed it."""
    if case.event != "sigkill":
        return None
    comm, pid = case.facts.text("sigkill.sender.comm", 20), case.facts.number("sigkill.sender.pid")
    hint = HINTS.get(case.facts.word("sigkill.sender.comm") or "")
    if hint is None or comm is None:
        return None
    return f"{comm}{f' (pid {pid})' if pid is not None else ''} killed it, at a limit of its own: {hint}."


def zero_limit(case: Case) -> str | None:
    """No memory is allowed at all."""
    return "The limit is 0: no process can run there. Set it, or remove it." if case.limit == 0 else None


def adj(case: Case) -> str | None:
    """It was chosen for its oom_score_adj, not for its memory."""
    facts = case.facts
    value, pages = facts.number("process.oom_score_adj"), facts.number("oom.points.adj")
    total = facts.number("oom.points.total")
    if value is None or value <= 0 or facts.word("oom.verdict") != "killed" or facts.has("k8s"):
        return None
    if pages is None or total is None or not 0 < pages <= total:
        return _adj_of_small(case, value)
    if case.largest is not None:
        held = size(case.largest.amount("memory") or 0)
        return (
            f"oom_score_adj {value} decided: it added {count(pages)} of {count(total)} points, and"
            f" {case.largest.text('comm', 20)} held more memory, {held}. Lower it (choom, OOMScoreAdjust=)."
        )
    if case.scope == "memcg" or pages * 2 < total:
        return None
    return (
        f"oom_score_adj {value} gave it {count(pages)} of its {count(total)} points: lower that"
        " (choom, OOMScoreAdjust=) if another process should be killed first."
    )


def _adj_of_small(case: Case, value: int) -> str | None:
    """Return advice where the points are not known: the victim held less than what is not its own."""
    if not case.limit or case.resident is None or not case.others or case.others <= case.resident:
        return None
    return (
        f"oom_score_adj {value} made it the choice, or helped: it held {size(case.resident)}, and at least"
        f" {size(case.others)} of {size(case.limit)} was not its own. Lower it (choom, OOMScoreAdjust=)."
    )


def many(case: Case) -> str | None:
    """Many small processes filled the limit together."""
    number, whole = case.facts.amount("oom.weighed"), case.limit or case.facts.amount("oom.limit_bytes")
    if number is None or number < MANY or not whole or case.resident is None or case.scope not in ("memcg", "global"):
        return None
    if case.scope == "global" or case.resident * 10 > whole:
        return None
    return (
        f"The number of processes is the cause: {count(number)} shared {size(whole)}, and the one with the most points"
        f" held {size(case.resident)}. Start fewer, or limit them (pids.max, TasksMax=)."
    )


def neighbour(case: Case) -> str | None:
    """Others in the same cgroup hold as much, or asked for the memory."""
    if case.scope != "memcg" or not case.limit or case.others is None or case.resident is None:
        return None
    others = [one for one in case.rivals if (one.amount("memory") or 0) * 10 >= case.limit]
    is_other = case.is_own_trigger is False and case.facts.word("oom.trigger.comm") is not None
    if case.others * 4 < case.limit or not (others or is_other):
        return None
    trigger, pid = case.facts.text("oom.trigger.comm", 20), case.facts.number("oom.trigger.pid")
    who = _names(others) if others else f"{trigger} (pid {pid}), which asked for more"
    path = case.facts.path("oom.memcg.path") or ""
    whose = f"the limit of {cut(path, MOST_PATH)}" if case.is_limit_above else "the limit"
    return (
        f"It shared {whose} with {who}; at least {size(case.others)} of {size(case.limit)} was not its own. Give"
        " each a limit of its own, or look at the other first."
    )


def exempt(case: Case) -> str | None:
    """Most of the heap is that of processes that may not be killed."""
    anon, whole = case.facts.amount("process.memory.anon"), case.share("anonymous")
    if case.facts.amount("oom.weighed") != 1 or not case.charged or anon is None or whole is None or not case.limit:
        return None
    rest = whole[0] - anon
    if rest * 2 < case.limit:
        return None
    return (
        f"{size(rest)} of {size(case.limit)} is heap of processes that may not be killed: look for those with"
        " oom_score_adj -1000 in the cgroup, and raise that, or the limit."
    )


def overcommitted(case: Case) -> str | None:
    """The host ran out, and the victim was only the one with the most points."""
    total = case.facts.amount("oom.limit_bytes")
    if case.scope != "global" or not total or case.resident is None or case.resident * 2 >= total:
        return None
    found = [one for one in case.rivals if (one.amount("memory") or 0) > 0][:MOST_NAMED]
    found.sort(key=lambda one: -(one.amount("memory") or 0))
    share = percent(case.resident, total)
    look = f"The largest others: {_names(found)}." if found else "See what else runs here (systemd-cgtop -m)."
    return (
        f"The host is overcommitted: {size(total)} ran out, of which it held {size(case.resident)} ({share} %). {look}"
        " Give it limits, or move some of it away."
    )


def unlimited(case: Case) -> str | None:
    """One process filled the whole host."""
    total = case.facts.amount("oom.limit_bytes")
    if case.scope != "global" or not total or case.resident is None or case.resident * 2 < total:
        return None
    return (
        f"It held {size(case.resident)} of the host's {size(total)} by itself: give it a limit of its own"
        " (MemoryMax=), so that it is killed before all others suffer."
    )


def qos(case: Case) -> str | None:
    """On a full node, requests decide between pods."""
    value, qos_class = case.facts.number("process.oom_score_adj"), case.facts.word("k8s.qos")
    total = case.facts.amount("oom.limit_bytes")
    if case.scope != "global" or value is None or case.resident is None:
        return None
    if qos_class == "besteffort" and value == FULL_ADJ:
        return (
            f"The pod requests no memory, so its oom_score_adj is {value} and it dies first on a full node: request"
            f" what it needs, which was {size(case.resident)} here."
        )
    if qos_class == "burstable" and total and 0 < value < FULL_ADJ:
        return (
            f"oom_score_adj {value} means a memory request of about {(FULL_ADJ - value) / 10:.1f} % of the node, and it"
            f" held {percent(case.resident, total)} %: raise the request to what it uses."
        )
    return None


def changed_adj(case: Case) -> str | None:
    """The process has another oom_score_adj than its QoS class implies."""
    facts = case.facts
    value, low, high = (
        facts.number(path) for path in ("process.oom_score_adj", "k8s.oom_score_adj.min", "k8s.oom_score_adj.max")
    )
    if value is None or low is None or high is None or not facts.has("k8s.oom_score_adj.matches"):
        return None
    if facts.is_true("k8s.oom_score_adj.matches") or low <= value <= high:
        return None
    implied = str(low) if low == high else f"{low} to {high}"
    return f"Its oom_score_adj is {value}, and its QoS class implies {implied}: the image or the process changes it."


def _names(processes: list[Facts]) -> str:
    """Return names, pids and sizes of some processes; the rest as a number."""
    words = []
    for one in processes[:MOST_NAMED]:
        memory, pid = one.amount("memory"), one.number("pid")
        inner = ", ".join(x for x in (f"pid {pid}" if pid is not None else "", size(memory) if memory else "") if x)
        words.append(f"{one.text('comm', 20) or 'a process'}{f' ({inner})' if inner else ''}")
    if len(processes) > MOST_NAMED:
        words.append(plural(len(processes) - MOST_NAMED, "more", "more"))
    return ", ".join(words)
