# SPDX-License-Identifier: Apache-2.0
"""What the victim left behind: connections, and its job with the command that finds it. Pure."""

from __future__ import annotations

import re
import shlex
from collections import Counter

from ooMtrace.explain.amounts import plural
from ooMtrace.explain.case import Case
from ooMtrace.explain.facts import Facts, clean
from ooMtrace.explain.layout import COLUMNS, Block, fact, text, width

MOST_SERVICES = 3
LONGEST_KEY = 120
SPECIAL = re.compile(r"[.*\[\]^$\\]")
"""Characters that grep would not take as they are."""

FILES = {"regular": ("file", "files"), "pipe": ("pipe", "pipes")}

JOBS: dict[str, tuple[str, tuple[str, ...]]] = {
    "sidekiq": (
        "Its job is in no queue. Its entry expires 60 s after the last heartbeat:",
        (
            "redis-cli SMEMBERS processes | grep {prefix}",
            "redis-cli HGETALL MEMBER:work    # before 7: MEMBER:workers",
        ),
    ),
    "resque": ("Its job is listed under its worker:", ("redis-cli SMEMBERS resque:workers | grep {prefix}",)),
    "rq": ("Its job is in its worker's hash:", ("redis-cli HGET {join} current_job",)),
    "celery": ("The master may still list its task; ask at once:", ("celery -A PROJECT inspect active -d {worker}",)),
    "solid_queue": ("Its jobs are those that it had claimed, in solid_queue_claimed_executions.", ()),
    "good_job": ("Its jobs are those locked by it, in good_jobs.", ()),
    "delayed_job": ("Its job stays locked until max_run_time is over, in delayed_jobs.", ()),
    "postgresql": (
        "All other backends ended with it. The server's log has its query:",
        ("grep -A1 {terminated} LOG",),
    ),
    "slurm": ("Its accounting entry:", ("sacct -j {join} -o JobID,JobName,State,MaxRSS",)),
    "spark": ("Its application and executor, in Spark's REST API: allexecutors.", ()),
    "airflow": ("Its entry is in the table task_instance.", ()),
    "gitlab_runner": ("Its job is in GitLab's REST API.", ()),
    "jenkins": ("Its build's console has the end of its output.", ()),
}
"""By system: what becomes of the job, and the commands that find it. docs/jobs.md has the whole way."""


def left_behind(case: Case) -> list[Block]:
    """Return what the victim had open, and whose worker it was."""
    return [*_open(case.facts), *_job(case.facts)]


def _open(facts: Facts) -> list[Block]:
    remote: Counter[str] = Counter()
    listening: Counter[str] = Counter()
    for one in facts.parts("process.connections"):
        if one.word("state") == "listen":
            listening[_endpoint(one, "local")] += 1
        elif one.has("remote"):
            service = one.text("service", 20) or one.text("transport", 10) or ""
            remote[f"{service} {_endpoint(one, 'remote')}".strip()] += 1
    words = [f"{plural(number, 'connection')} to {name}" for name, number in remote.most_common(MOST_SERVICES)]
    words += [f"listening on {name}" for name, _ in listening.most_common(1)]
    for key, (noun, nouns) in FILES.items():
        if number := facts.amount(f"process.open_files.{key}"):
            words.append(plural(number, noun, nouns))
    return [fact("open", [", ".join(words)], 4)] if words else []


def _endpoint(connection: Facts, end: str) -> str:
    address, port = connection.text(f"{end}.address", 60) or "", connection.amount(f"{end}.port")
    if port is None:
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _job(facts: Facts) -> list[Block]:
    if not facts.has("job.system"):
        return []
    words = [f"{key} {value}" for key in ("queue", "name", "id", "worker") if (value := facts.text(f"job.{key}", 80))]
    whose = f"{facts.text('job.system', 20) or ''} {facts.text('job.role', 20) or ''}".strip()
    return [fact("job", [", ".join([whose, *words])], 3)]


def find_job(case: Case) -> list[Block]:
    """Return what becomes of the victim's job, and the commands that find it."""
    facts = case.facts
    sentence, commands = JOBS.get(facts.word("job.system") or "", ("", ()))
    filled = [_filled(command, facts) for command in commands]
    if sentence and all(line and width(line) <= COLUMNS for line in filled):
        return [Block("command", (*text(sentence, 3).lines, *filled), 3)]
    if (join := facts.text("job.join", LONGEST_KEY)) and (where := facts.text("job.registry")):
        return [text(f"Its key is {join} ({where}).", 4, most=3)]
    return []


def _filled(command: str, facts: Facts) -> str:
    """Return a command that can be pasted; "" if a key is not known or cannot be shown as it is."""
    join, worker = facts.word("job.join"), facts.word("job.worker")
    keys = {"join": join, "worker": worker}
    if join is not None:
        keys |= {"prefix": "^" + SPECIAL.sub(r"\\\g<0>", join), "terminated": f"(PID {join}) was terminated"}
    known = {name: shlex.quote(key) for name, key in keys.items() if key and clean(key) == key}
    try:
        return "  " + command.format(**known)
    except KeyError:
        return ""
