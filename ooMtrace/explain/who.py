# SPDX-License-Identifier: Apache-2.0
"""Who died, whose process it was, where, when, and after how long a life. Pure."""

from __future__ import annotations

from ooMtrace.explain.amounts import duration, plural, times
from ooMtrace.explain.case import Case
from ooMtrace.explain.facts import Facts
from ooMtrace.explain.layout import Block, fact, two_sided

SHORT_ID = 12
TITLE = 120
CAUSES = {
    "container": "its container hit its limit",
    "pod": "its pod hit its limit",
    "qos": "its QoS class hit its limit",
    "kubepods": "all pods hit their limit",
    "job": "its job hit its limit",
    "unit": "a unit hit its limit",
    "slice": "a slice hit its limit",
}
SCOPES = {
    "memcg": "a memory cgroup hit its limit",
    "global": "the host ran out of memory",
    "cpuset": "its cpuset's nodes ran out of memory",
    "mempolicy": "a policy's nodes ran out of memory",
    "sysrq": "someone requested a kill (SysRq-f)",
}
UNKNOWN_CAUSE = "the line does not say why"


def headline(case: Case) -> Block:
    """Return what happened to whom, and why, in one line."""
    facts = case.facts
    verdict = facts.word("oom.verdict")
    left = {"oom_dying": "Not killed, already dying", "oom_exit": "Gone"}.get(case.event, "Killed")
    if case.event == "sigkill":
        sender = facts.text("sigkill.sender.comm", 20) or "another process"
        right = f"SIGKILL from {sender}, not the kernel"
    elif verdict == "group_member":
        right = "killed with its group"
    elif verdict == "shared_mm":
        right = "it shared the victim's memory"
    else:
        right = cause(case)
    return Block("headline", (two_sided(f"{left}: {name(facts)}", right),), 0)


def cause(case: Case) -> str:
    """Return what ran out of memory."""
    owner = case.facts.word("oom.limit_owner") or ""
    return CAUSES.get(owner) or SCOPES.get(case.scope or "", UNKNOWN_CAUSE)


def name(facts: Facts) -> str:
    """Return what the process called itself, or how it was started; neither may be visible."""
    title, arguments = facts.text("process.title", TITLE) or "", facts.texts("process.command_args")
    started = " ".join((arguments[0].rpartition("/")[2] or arguments[0], *arguments[1:]))[:TITLE] if arguments else ""
    return title.strip() or started.strip() or facts.text("process.comm") or "a process"


def who(case: Case) -> list[Block]:
    """Return the process, where it ran, and when it died."""
    blocks = [fact("process", [_process(case.facts)], 1)]
    if where := _where(case.facts):
        blocks.append(fact("where", [where], 1, most=3))
    if when := _when(case):
        blocks.append(fact("when", [when], 1, most=1))
    return blocks


def _process(facts: Facts) -> str:
    words = [facts.text("process.comm") or "name not known", _pid(facts)]
    user, uid = facts.text("process.user.name", 32), facts.number("process.user.id")
    if user or uid is not None:
        words.append(f"user {user}" if user else f"user id {uid}")
    if (threads := facts.amount("process.threads")) and threads > 1:
        words.append(plural(threads, "thread"))
    if parent := facts.text("process.parent.comm", 20):
        pid = facts.number("process.parent.pid")
        words.append(f"started by {parent}" + (f" (pid {pid})" if pid is not None else ""))
    return ", ".join(word for word in words if word)


def _pid(facts: Facts) -> str:
    pid, inside, tid = (facts.number(f"process.{name}") for name in ("pid", "vpid", "tid"))
    if pid is None:
        return f"thread {tid}" if tid is not None else ""
    namespace = "container" if facts.has("container") else "pid namespace"
    return f"pid {pid} (pid {inside} in its {namespace})" if inside not in (None, pid) else f"pid {pid}"


def _where(facts: Facts) -> str:
    words = [*_pod(facts), *_container(facts), *_other(facts)]
    if not words and (path := facts.path("cgroup.path")):
        words.append(f"cgroup {path}")
    if host := facts.text("host.name", 64):
        words.append(f"host {host}")
    return ", ".join(words)


def _pod(facts: Facts) -> list[str]:
    if not facts.has("k8s"):
        return []
    pod, namespace = facts.text("k8s.pod.name"), facts.text("k8s.namespace.name")
    name = "/".join(part for part in (namespace, pod, facts.text("k8s.container.name")) if part)
    words = [f"pod {name}" if pod else f"pod {facts.text('k8s.pod.uid', 40) or 'not known'}"]
    if workload := facts.text("k8s.workload.name"):
        words.append(f"{facts.text('k8s.workload.kind') or 'workload'} {workload}")
    if qos := facts.text("k8s.qos", 20):
        words.append(qos)
    if restarts := facts.amount("k8s.container.restart_count"):
        words.append(f"restarted {times(restarts)} before")
    return words


def _container(facts: Facts) -> list[str]:
    if not (name := facts.text("container.name") or (facts.text("container.id") or "")[:SHORT_ID]):
        return []
    runtime, image = facts.text("container.runtime", 20), facts.text("container.image.name", 80)
    inner = ", ".join(word for word in (runtime, f"image {image}" if image else None) if word)
    return [f"container {name} ({inner})" if inner else f"container {name}"]


def _other(facts: Facts) -> list[str]:
    words = []
    if system := facts.text("scheduler.system", 20):
        ids = [facts.text(f"scheduler.{key}") for key in ("id", "step", "task", "slot")]
        words.append(f"{system} {'.'.join(one for one in ids if one)}".strip())
    if unit := facts.text("systemd.unit"):
        words.append(f"unit {unit}")
    if session := facts.text("systemd.session", 20):
        words.append(f"session {session}")
    if (owner := facts.number("systemd.user")) is not None:
        words.append(f"of user id {owner}")
    if application := facts.text("application.id"):
        words.append(f"{facts.text('application.kind', 20) or 'application'} {application}")
    return words


def _when(case: Case) -> str:
    if (died := case.facts.time("time")) is None:
        return ""
    shown = f"{died:%Y-%m-%d %H:%M:%S}.{died.microsecond // 1000:03} UTC"
    if case.event == "oom_exit" and (after := case.facts.amount("exit.after_us")) is not None:
        return f"{shown}, {after / 1000:,.1f} ms after SIGKILL"
    return shown if case.age is None else f"{shown}, {duration(case.age)} after it started"
