# SPDX-License-Identifier: Apache-2.0
"""A Sidekiq job takes a lock in Redis and is killed; the line leads to the job, and to the lock that it left behind."""

import tempfile
from pathlib import Path

from _scenario import scenario
from _tolerances import at
from support.story import HOSTNAME, LIMIT, Left, story

with scenario() as run, tempfile.TemporaryDirectory() as folder, story(Path(folder)) as happened:
    pid = happened.run()
    (line,) = run.kills([pid])
    run.equal("vpid", at(line, "process.vpid"), 1)
    run.equal("host name", at(line, "namespace.hostname"), HOSTNAME)
    run.equal("limit", at(line, "oom.limit_bytes"), LIMIT)
    run.true("title", (at(line, "process.title") or "").startswith("sidekiq "))
    run.true("log ends with the start", happened.log()[-1].endswith("INFO: start"))
    run.equal("left in Sidekiq's lists", happened.left(), Left(queued=0, retry=0, dead=0))
    run.equal("join", at(line, "job.join"), f"{HOSTNAME}:1:")
    job = happened.job(at(line, "job.join"))
    run.equal("job", (job.name, job.args), ("NotifyJob", [42]))
    run.equal("lock, for ever", happened.lock(), (job.jid, -1))
    run.comment(f"{job.member} ran {job.name}{job.args}, jid {job.jid}, which holds its lock for ever")
