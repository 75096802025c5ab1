# SPDX-License-Identifier: Apache-2.0
"""A Sidekiq job takes a lock in Redis and is killed; the line leads to the job, and to the lock that it left."""

import tempfile
from pathlib import Path

from _checks import at
from _stage import stage
from support.story import HOSTNAME, LIMIT, Left, story

with stage() as on, tempfile.TemporaryDirectory() as folder, story(Path(folder)) as happened:
    pid = happened.run()
    (line,) = on.kills([pid])
    on.equal("vpid", at(line, "process.vpid"), 1)
    on.equal("host name", at(line, "namespace.hostname"), HOSTNAME)
    on.equal("limit", at(line, "oom.limit_bytes"), LIMIT)
    on.true("title", (at(line, "process.title") or "").startswith("sidekiq "))
    on.true("log ends with the start", happened.log()[-1].endswith("INFO: start"))
    on.equal("left in Sidekiq's lists", happened.left(), Left(queued=0, retry=0, dead=0))
    on.equal("join", at(line, "job.join"), f"{HOSTNAME}:1:")
    job = happened.job(at(line, "job.join"))
    on.equal("job", (job.name, job.args), ("NotifyJob", [42]))
    on.equal("lock, for ever", happened.lock(), (job.jid, -1))
    on.say(f"{job.member} was at {job.name}{job.args}, jid {job.jid}, which holds its lock for ever")
