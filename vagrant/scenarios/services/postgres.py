# SPDX-License-Identifier: Apache-2.0
"""A query in PostgreSQL takes too much memory; the line has user, database, command and the backend's pid."""

import tempfile
from pathlib import Path

from _scenario import scenario
from _tolerances import at
from support.debian import tree
from support.dialogue import dialogue, said, send_line
from support.postgresql import GREEDY, postgresql

with scenario() as run, tempfile.TemporaryDirectory() as folder:
    place = tree(Path(folder))
    with postgresql(place) as psql, dialogue(place, *psql, "--username=app", "--dbname=appdb") as client:
        send_line(client, "SELECT pg_backend_pid();")
        backend = int(said(client))
        run.cgroup(64).join(backend)
        send_line(client, GREEDY)
        (line,) = run.kills([backend])
    run.equal("title", at(line, "process.title"), "postgres: app appdb [local] SELECT")
    run.equal("system", at(line, "job.system"), "postgresql")
    run.equal("the pid that pg_stat_activity has", at(line, "job.join"), str(backend))
