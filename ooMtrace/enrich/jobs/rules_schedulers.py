# SPDX-License-Identifier: Apache-2.0
"""Rules for schedulers of tasks and batch jobs. Data only."""

from __future__ import annotations

from ooMtrace.enrich.jobs.rule import END, PATH, PYTHON, Rule, S, W

STEP = r"(?P<step>[0-9]+|batch|extern|interactive)"
EXECUTOR = (
    r"org\.apache\.spark\.(?:executor\.(?:Yarn)?CoarseGrained|scheduler\.cluster\.k8s\.Kubernetes)ExecutorBackend"
)
AIRFLOW_ARGUMENTS = r"'tasks', 'run', '(?P<name>[^']+)', '(?P<task>[^']+)', '(?P<id>[^']+)'"

SPARK = "Spark's REST API, /api/v1/applications/<application>/allexecutors: id"
SACCT = "sacct -j: JobID"
TASK_INSTANCE = "task_instance: dag_id, task_id and run_id"

SPARK_IDS = (
    ("cmdline", rf"{S}--executor-id{S}(?P<worker>{W}+)"),
    ("cmdline", rf"{S}--app-id{S}(?P<id>{W}+)"),
    ("environment.SPARK_EXECUTOR_ID", r"\A(?P<worker>[0-9]+)\Z"),
    ("environment.SPARK_APPLICATION_ID", r"\A(?P<id>.+)"),
)
SPARK_KEY = ("{id}/{worker}",)
STEP_ID = ("{id}.{step}", "{id}")
TASK_KEY = ("{name} {task} {id}",)

SCHEDULERS = (
    # airflow/providers/celery/executors/celery_executor_utils.py, airflow/executors/local_executor.py
    Rule(
        system="airflow",
        role="supervisor",
        where=(
            (
                "cmdline",
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
        where=(("cmdline", r"\Aairflow task runner: (?P<name>\S+) (?P<task>\S+) (?P<id>\S+)(?: [0-9]+)?\Z"),),
        join=TASK_KEY,
        registry=TASK_INSTANCE,
    ),
    # Airflow 3: task-sdk/src/airflow/sdk/execution_time/task_runner.py, and its executors
    Rule(
        system="airflow",
        role="task",
        where=(("cmdline", r"\Aairflow worker -- (?:[A-Za-z]+: )?(?P<id>[0-9a-f-]{36})\Z"),),
        join=("{id}",),
        registry="task_instance: id",
    ),
    Rule(
        system="airflow",
        where=(
            (
                "cmdline",
                rf"{PYTHON}airflow{S}tasks{S}run{S}(?P<name>(?!-){W}+){S}(?P<task>(?!-){W}+){S}(?P<id>(?!-){W}+)",
            ),
        ),
        join=TASK_KEY,
        registry=TASK_INSTANCE,
    ),
    Rule(
        system="airflow",
        where=(
            ("cmdline", rf"{PYTHON}airflow{S}(?P<role>scheduler|triggerer|webserver|dag-processor|api[-_]server){END}"),
        ),
    ),
    # core/src/main/scala/org/apache/spark/executor/CoarseGrainedExecutorBackend.scala
    Rule(
        system="spark",
        role="executor",
        where=(("cmdline", rf"\A{PATH}java{S}(?:{W}*{S})*?{EXECUTOR}{END}"),),
        also=SPARK_IDS,
        join=SPARK_KEY,
        registry=SPARK,
    ),
    # core/src/main/scala/org/apache/spark/api/python/PythonWorkerFactory.scala
    Rule(
        system="spark",
        role="python-worker",
        where=(("cmdline", rf"{PYTHON}pyspark\.daemon{END}"),),
        also=SPARK_IDS,
        join=SPARK_KEY,
        registry=SPARK,
    ),
    # src/slurmd/slurmstepd/slurmstepd.c
    Rule(
        system="slurm",
        role="slurmstepd",
        where=(("cmdline", rf"\Aslurmstepd: \[(?P<id>[0-9]+)\.{STEP}"),),
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
    # Since 26.05 the path contains the job's SLUID instead of its id.
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

SCHEDULER_ENVIRONMENTS = (
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
)

SCHEDULER_COMMS = (Rule(system="slurm", role="slurmstepd", where=(("comm", r"\Aslurmstepd\Z"),)),)
