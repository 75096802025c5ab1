# SPDX-License-Identifier: Apache-2.0
"""A query in PostgreSQL takes too much memory; the line says whose and which, and by what pid the server knows it."""

import tempfile
from pathlib import Path

from _checks import at
from _stage import stage
from support.debian import tree
from support.dialogue import dialogue, said, tell
from support.postgresql import GREEDY, postgresql

with stage() as on, tempfile.TemporaryDirectory() as folder:
    place = tree(Path(folder))
    with postgresql(place) as psql, dialogue(place, *psql, "--username=app", "--dbname=appdb") as client:
        tell(client, "SELECT pg_backend_pid();")
        backend = int(said(client))
        on.cgroup(64).join(backend)
        tell(client, GREEDY)
        (line,) = on.kills([backend])
    on.equal("title", at(line, "process.title"), "postgres: app appdb [local] SELECT")
    on.equal("system", at(line, "job.system"), "postgresql")
    on.equal("the pid that pg_stat_activity has", at(line, "job.join"), str(backend))
