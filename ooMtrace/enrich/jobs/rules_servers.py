# SPDX-License-Identifier: Apache-2.0
"""Rules for servers: web servers and databases. Data only."""

from __future__ import annotations

from ooMtrace.enrich.jobs.rule import END, PATH, PYTHON, RUBY, Rule, S, W

POSTGRES_ROLE = (
    r"archiver|autovacuum launcher|autovacuum worker|background writer|checkpointer|io worker|logger|parallel worker"
    r"|logical replication [a-z]+(?: worker)?|slotsync worker|startup|stats collector|wal ?receiver|wal ?sender"
    r"|walsummarizer|wal ?writer"
)
ACTIVITY = "pg_stat_activity: pid; after the restart, the server's log"
PID = ("{pid}",)

SERVERS = (
    # gunicorn/util.py, arbiter.py: with setproctitle; no registry
    Rule(
        system="gunicorn",
        where=(("cmdline", r"\Agunicorn: (?P<role>master|arbiter|worker) \[(?P<name>[^\]]*)\]"),),
    ),
    Rule(
        system="gunicorn",
        where=(("cmdline", rf"{PYTHON}gunicorn(?:\.app\.wsgiapp)?{S}"),),
        also=(("cmdline", rf"{S}(?P<name>[A-Za-z_][\w.]*:[A-Za-z_][\w.()]*)\Z"),),
    ),
    # lib/puma/cluster/worker.rb, launcher.rb; no registry
    Rule(
        system="puma",
        role="worker",
        where=(("cmdline", r"\Apuma: cluster worker (?P<worker>[0-9]+): [0-9]+(?: \[(?P<name>[^\]]+)\])?"),),
    ),
    Rule(
        system="puma",
        role="server",
        where=(("cmdline", r"\Apuma [0-9]\S* \([^)]*\)(?: \[(?P<name>[^\]]+)\])?"),),
    ),
    Rule(
        system="puma",
        role="server",
        where=(("cmdline", rf"{RUBY}puma(?:{S}-|{S}{W}*config\.ru{END}|\Z)"),),
    ),
    # sapi/fpm/fpm/fpm_env.c; no registry: the status page lists running workers only
    Rule(system="php-fpm", role="worker", where=(("cmdline", r"\Aphp-fpm: pool (?P<name>.+)"),)),
    Rule(system="php-fpm", role="master", where=(("cmdline", r"\Aphp-fpm: master process"),)),
    # src/backend/utils/misc/ps_status.c, miscinit.c; starts with cluster_name where that is set
    Rule(
        system="postgresql",
        where=(("cmdline", rf"\Apostgres: (?:[^ ]+: )?(?P<role>{POSTGRES_ROLE})(?: |\Z)"),),
        join=PID,
        registry=ACTIVITY,
    ),
    Rule(
        system="postgresql",
        role="backend",
        where=(
            ("cmdline", r"\Apostgres: (?:[^ ]+: )?[^ ]+ [^ ]+ (?:\[local\]|[^ ]+\([0-9]+\))(?: (?P<name>[^\0]+))?\Z"),
        ),
        join=PID,
        registry=ACTIVITY,
    ),
    Rule(system="postgresql", where=(("cmdline", r"\Apostgres: "),), join=PID, registry=ACTIVITY),
    Rule(system="postgresql", role="postmaster", where=(("cmdline", rf"\A{PATH}(?:postgres|postmaster)(?:{S}-|\Z)"),)),
)

SERVER_COMMS = (
    Rule(system="gunicorn", where=(("comm", r"\Agunicorn(?::|\Z)"),)),
    Rule(system="puma", where=(("comm", r"\Apuma srv "),)),
    Rule(system="php-fpm", where=(("comm", r"\Aphp-fpm[0-9.]*\Z"),)),
    Rule(system="postgresql", where=(("comm", r"\Apostgres\Z"),), join=PID, registry=ACTIVITY),
)
