# SPDX-License-Identifier: Apache-2.0
"""By what one tells a worker of a job system, and the key its registry knows it by. Data only; job.py applies it.

The first rule that fits counts. Titles and arguments come before cgroups and environments, for those are handed down:
a daemon that a CI job has restarted still carries the CI's variables. The comm says least and comes last.
"""

from __future__ import annotations

from ooMtrace.enrich.jobs.rule import END, PATH, PYTHON, RUBY, Rule, S, W
from ooMtrace.enrich.jobs.rules_queues import QUEUES, SIDEKIQ, SIDEKIQ_DYNO, SIDEKIQ_JOIN

STEP = r"(?P<step>[0-9]+|batch|extern|interactive)"
EXECUTOR = (
    r"org\.apache\.spark\.(?:executor\.(?:Yarn)?CoarseGrained|scheduler\.cluster\.k8s\.Kubernetes)ExecutorBackend"
)
POSTGRES_ROLE = (
    r"archiver|autovacuum launcher|autovacuum worker|background writer|checkpointer|io worker|logger|parallel worker"
    r"|logical replication [a-z]+(?: worker)?|slotsync worker|startup|stats collector|wal ?receiver|wal ?sender"
    r"|walsummarizer|wal ?writer"
)
AIRFLOW_ARGUMENTS = r"'tasks', 'run', '(?P<name>[^']+)', '(?P<task>[^']+)', '(?P<id>[^']+)'"

ACTIVITY = "pg_stat_activity: pid; after the restart, the server's log"
SPARK = "Spark's REST API, /api/v1/applications/<application>/allexecutors: id"
SACCT = "sacct -j: JobID"
TASK_INSTANCE = "task_instance: dag_id, task_id and run_id"

SPARK_IDS = (
    ("command", rf"{S}--executor-id{S}(?P<worker>{W}+)"),
    ("command", rf"{S}--app-id{S}(?P<id>{W}+)"),
    ("environment.SPARK_EXECUTOR_ID", r"\A(?P<worker>[0-9]+)\Z"),
    ("environment.SPARK_APPLICATION_ID", r"\A(?P<id>.+)"),
)
SPARK_KEY = ("{id}/{worker}",)
PID = ("{pid}",)
STEP_ID = ("{id}.{step}", "{id}")
TASK_KEY = ("{name} {task} {id}",)

SERVERS = (
    # gunicorn/util.py, arbiter.py: with setproctitle; no registry
    Rule(
        system="gunicorn",
        where=(("command", r"\Agunicorn: (?P<role>master|arbiter|worker) \[(?P<name>[^\]]*)\]"),),
    ),
    Rule(
        system="gunicorn",
        where=(("command", rf"{PYTHON}gunicorn(?:\.app\.wsgiapp)?{S}"),),
        also=(("command", rf"{S}(?P<name>[A-Za-z_][\w.]*:[A-Za-z_][\w.()]*)\Z"),),
    ),
    # lib/puma/cluster/worker.rb, launcher.rb; no registry
    Rule(
        system="puma",
        role="worker",
        where=(("command", r"\Apuma: cluster worker (?P<worker>[0-9]+): [0-9]+(?: \[(?P<name>[^\]]+)\])?"),),
    ),
    Rule(
        system="puma",
        role="server",
        where=(("command", r"\Apuma [0-9]\S* \([^)]*\)(?: \[(?P<name>[^\]]+)\])?"),),
    ),
    Rule(
        system="puma",
        role="server",
        where=(("command", rf"{RUBY}puma(?:{S}-|{S}{W}*config\.ru{END}|\Z)"),),
    ),
    # sapi/fpm/fpm/fpm_env.c; the status page knows only the living
    Rule(system="php-fpm", role="worker", where=(("command", r"\Aphp-fpm: pool (?P<name>.+)"),)),
    Rule(system="php-fpm", role="master", where=(("command", r"\Aphp-fpm: master process"),)),
    # src/backend/utils/misc/ps_status.c, miscinit.c; cluster_name comes first where it is set.
    Rule(
        system="postgresql",
        where=(("command", rf"\Apostgres: (?:[^ ]+: )?(?P<role>{POSTGRES_ROLE})(?: |\Z)"),),
        join=PID,
        registry=ACTIVITY,
    ),
    Rule(
        system="postgresql",
        role="backend",
        where=(
            ("command", r"\Apostgres: (?:[^ ]+: )?[^ ]+ [^ ]+ (?:\[local\]|[^ ]+\([0-9]+\))(?: (?P<name>[^\0]+))?\Z"),
        ),
        join=PID,
        registry=ACTIVITY,
    ),
    Rule(system="postgresql", where=(("command", r"\Apostgres: "),), join=PID, registry=ACTIVITY),
    Rule(system="postgresql", role="postmaster", where=(("command", rf"\A{PATH}(?:postgres|postmaster)(?:{S}-|\Z)"),)),
)

SCHEDULERS = (
    # airflow/providers/celery/executors/celery_executor_utils.py, airflow/executors/local_executor.py
    Rule(
        system="airflow",
        role="supervisor",
        where=(
            (
                "command",
                rf"\Aairflow (?:task supervisor|worker -- [A-Za-z]+): \['airflow', {AIRFLOW_ARGUMENTS}",
            ),
        ),
        join=TASK_KEY,
        registry=TASK_INSTANCE,
    ),
    # airflow/task/task_runner/standard_task_runner.py
    Rule(
        system="airflow",
        role="task",
        where=(("command", r"\Aairflow task runner: (?P<name>\S+) (?P<task>\S+) (?P<id>\S+)(?: [0-9]+)?\Z"),),
        join=TASK_KEY,
        registry=TASK_INSTANCE,
    ),
    # Airflow 3: task-sdk/src/airflow/sdk/execution_time/task_runner.py, and its executors
    Rule(
        system="airflow",
        role="task",
        where=(("command", r"\Aairflow worker -- (?:[A-Za-z]+: )?(?P<id>[0-9a-f-]{36})\Z"),),
        join=("{id}",),
        registry="task_instance: id",
    ),
    Rule(
        system="airflow",
        where=(
            (
                "command",
                rf"{PYTHON}airflow{S}tasks{S}run{S}(?P<name>(?!-){W}+){S}(?P<task>(?!-){W}+){S}(?P<id>(?!-){W}+)",
            ),
        ),
        join=TASK_KEY,
        registry=TASK_INSTANCE,
    ),
    Rule(
        system="airflow",
        where=(
            ("command", rf"{PYTHON}airflow{S}(?P<role>scheduler|triggerer|webserver|dag-processor|api[-_]server){END}"),
        ),
    ),
    # core/src/main/scala/org/apache/spark/executor/CoarseGrainedExecutorBackend.scala
    Rule(
        system="spark",
        role="executor",
        where=(("command", rf"\A{PATH}java{S}(?:{W}*{S})*?{EXECUTOR}{END}"),),
        also=SPARK_IDS,
        join=SPARK_KEY,
        registry=SPARK,
    ),
    # core/src/main/scala/org/apache/spark/api/python/PythonWorkerFactory.scala
    Rule(
        system="spark",
        role="python-worker",
        where=(("command", rf"{PYTHON}pyspark\.daemon{END}"),),
        also=SPARK_IDS,
        join=SPARK_KEY,
        registry=SPARK,
    ),
    # src/slurmd/slurmstepd/slurmstepd.c
    Rule(
        system="slurm",
        role="slurmstepd",
        where=(("command", rf"\Aslurmstepd: \[(?P<id>[0-9]+)\.{STEP}"),),
        join=STEP_ID,
        registry=SACCT,
    ),
    # src/plugins/cgroup/v1/xcgroup.c, v2/cgroup_v2.c
    Rule(
        system="slurm",
        role="task",
        where=(
            (
                "cgroup",
                rf"/(?:(?:[^/]+_)?slurmstepd\.scope|slurm(?:_[^/]+)?/uid_[0-9]+)/job_(?P<id>[0-9]+)/step_{STEP}(?:/|\Z)",
            ),
        ),
        also=(("environment.SLURM_JOB_NAME", r"\A(?P<name>.+)"),),
        join=STEP_ID,
        registry=SACCT,
    ),
    # From 26.05 on, the job's SLUID stands in the path in place of the id.
    Rule(
        system="slurm",
        role="task",
        where=(
            ("cgroup", r"slurmstepd\.scope/s[0-9A-Z]{13}/step_"),
            ("environment.SLURM_JOB_ID", r"\A(?P<id>[0-9]+)\Z"),
        ),
        also=(("cgroup", rf"/step_{STEP}(?:/|\Z)"), ("environment.SLURM_JOB_NAME", r"\A(?P<name>.+)")),
        join=STEP_ID,
        registry=SACCT,
    ),
    Rule(
        system="slurm",
        role="task",
        where=(("cgroup", rf"slurmstepd\.scope/(?P<id>s[0-9A-Z]{{13}})/step_{STEP}(?:/|\Z)"),),
    ),
)

ENVIRONMENTS = (
    Rule(
        system="airflow",
        role="task",
        where=(
            ("environment.AIRFLOW_CTX_DAG_ID", r"\A(?P<name>.+)"),
            ("environment.AIRFLOW_CTX_TASK_ID", r"\A(?P<task>.+)"),
        ),
        also=(("environment.AIRFLOW_CTX_DAG_RUN_ID", r"\A(?P<id>.+)"),),
        join=TASK_KEY,
        registry=TASK_INSTANCE,
    ),
    Rule(
        system="spark",
        where=(SPARK_IDS[2], SPARK_IDS[3]),
        join=SPARK_KEY,
        registry=SPARK,
    ),
    Rule(
        system="slurm",
        role="task",
        where=(("environment.SLURM_JOB_ID", r"\A(?P<id>[0-9]+)\Z"),),
        also=(("environment.SLURM_JOB_NAME", r"\A(?P<name>.+)"),),
        join=("{id}",),
        registry=SACCT,
    ),
    Rule(
        system="gitlab_runner",
        where=(("environment.CI_JOB_ID", r"\A(?P<id>[0-9]+)\Z"),),
        also=(("environment.CI_JOB_NAME", r"\A(?P<name>.+)"),),
        join=("{id}",),
        registry="GitLab's REST API, /projects/<project>/jobs/<id>",
    ),
    # core/src/main/java/hudson/model/AbstractBuild.java, CoreEnvironmentContributor.java
    Rule(
        system="jenkins",
        where=(("environment.BUILD_TAG", r"\A(?P<id>.+)"),),
        also=(("environment.JOB_NAME", r"\A(?P<name>.+)"),),
        join=("{id}",),
        registry="Jenkins: jenkins-<job>-<number of the build>",
    ),
)

COMMS = (
    # lib/sidekiq/component.rb: threads are called so.
    Rule(
        system="sidekiq",
        role="worker",
        where=(("comm", r"\Asidekiq\."),),
        also=SIDEKIQ_DYNO,
        join=SIDEKIQ_JOIN,
        registry=SIDEKIQ,
    ),
    # setproctitle(3) of Python sets the comm, too: 15 bytes of the title.
    Rule(system="celery", where=(("comm", r"\A\[celeryd: "),)),
    Rule(system="rq", where=(("comm", r"\Arq:worker:"),)),
    Rule(system="gunicorn", where=(("comm", r"\Agunicorn(?::|\Z)"),)),
    Rule(system="puma", where=(("comm", r"\Apuma srv "),)),
    Rule(system="php-fpm", where=(("comm", r"\Aphp-fpm[0-9.]*\Z"),)),
    Rule(system="postgresql", where=(("comm", r"\Apostgres\Z"),), join=PID, registry=ACTIVITY),
    Rule(system="slurm", role="slurmstepd", where=(("comm", r"\Aslurmstepd\Z"),)),
)

RULES = (*QUEUES, *SERVERS, *SCHEDULERS, *ENVIRONMENTS, *COMMS)
