# SPDX-License-Identifier: Apache-2.0
"""`make story`: a job vanishes, and one line leads to it. Exit 0 only if it did."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from support.story import LIMIT, LOCK, Story, StoryError, story
from support.tracer import Line, RunningTracer
from vm.host import HarnessError

from ooMtrace.errors import OomtraceError


def main() -> None:
    """Run the story, and leave nothing behind, even if it is interrupted."""
    if os.geteuid() != 0:
        raise StoryError("making cgroups and namespaces needs root: use sudo")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    say("Starting Redis and Sidekiq in a Debian root tree, which is built the first time: half a minute or more.")
    with TemporaryDirectory(prefix="oomtrace-story-") as folder:
        places = [Path(folder) / name for name in ("story", "tracer")]
        for place in places:
            place.mkdir()
        with story(places[0]) as happened, RunningTracer(places[1], "--service", f"{happened.port}=redis") as tracer:
            run(happened, tracer)


def run(happened: Story, tracer: RunningTracer) -> None:
    """Let the job be killed, and print what Sidekiq, Redis and oomtrace know of it afterwards."""
    say(f"NotifyJob(42) is on its queue. A worker with a limit of {LIMIT >> 20} MiB takes it, and {LOCK} with it.")
    pid = happened.run()
    left = happened.left()
    say(
        "The worker is gone.",
        "",
        "What Sidekiq's log knows: it ends with the job's start.",
        f"    {happened.log()[-1]}",
        "",
        f"What its lists know: {left.queued} jobs queued, {left.retry} to retry, {left.dead} dead.",
    )
    (line,) = tracer.lines_of([pid])
    say("What oomtrace knows:", *(f"    {fact}" for fact in facts(line)))
    join = line.get("job", {}).get("join")
    if not join:
        raise StoryError("the line has no job.join: it leads nowhere")
    job = happened.job(join)
    holder, seconds_left = happened.lock()
    say(
        f"Redis has a set `processes`. The one in it that begins with {join} is",
        f"    {job.member}",
        f"and the hash {job.key} shows what it was running:",
        f"    {job.name}({', '.join(map(str, job.args))}), jid {job.jid}",
        "",
        f"Who holds {LOCK}?",
        f"    {holder}, for {'ever' if seconds_left == -1 else f'{seconds_left} seconds more'} (TTL {seconds_left})",
    )
    if (holder, seconds_left) != (job.jid, -1):
        raise StoryError("that is not the job: the line led to the wrong one")
    say("The job that vanished is found, and the lock that it left behind can be removed.")


def facts(line: Line) -> list[str]:
    """Return the facts of the line that the story shows."""
    process, job = line["process"], line.get("job", {})
    ends = [
        f"{end.get('service', 'somebody')} at {end['remote']['address']}:{end['remote']['port']}"
        for end in process.get("connections", ())
        if end["transport"] == "tcp" and "remote" in end
    ]
    return [
        line["message"],
        f"time                {line['time']}",
        f"process.vpid        {process['vpid']}",
        f"namespace.hostname  {line['namespace']['hostname']}",
        f"process.title       {process.get('title')}",
        f"connected to        {', '.join(dict.fromkeys(ends)) or None}",
        f"job.system          {job.get('system')}",
        f"job.join            {job.get('join')}",
    ]


def say(*lines: str) -> None:
    """Print a paragraph at once, though the output may be a pipe."""
    print(*lines, "", sep="\n", flush=True)


if __name__ == "__main__":
    try:
        main()
    except (HarnessError, StoryError, OomtraceError, AssertionError, subprocess.CalledProcessError) as error:
        sys.exit(f"story: {error}")
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
