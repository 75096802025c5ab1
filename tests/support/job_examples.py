# SPDX-License-Identifier: Apache-2.0
"""Workers as their systems' sources build their titles, and the expected job. Comments name the repositories."""

from __future__ import annotations

TASK_ID = "0198c0de-1111-7abc-8def-0123456789ab"
EXECUTOR = "org.apache.spark.executor.CoarseGrainedExecutorBackend"


def titled(title, **expected):
    return {"title": title}, expected


def called(args, **expected):
    return {"args": args}, expected


def within(path, /, environment=None, **expected):
    return {"path": path, "environment": environment}, expected


def having(environment, /, **expected):
    return {"environment": environment}, expected


def named(comm, **expected):
    return {"comm": comm}, expected


SIDEKIQ = {"system": "sidekiq", "role": "worker", "join": "box:7:"}
RESQUE = {"system": "resque", "role": "worker", "join": "box:7:"}
SOLID = {"system": "solid_queue", "join": "box:7"}
GOOD = {"system": "good_job", "role": "worker", "join": "box:7"}
DELAYED = {"system": "delayed_job", "role": "worker", "join": "host:box pid:7"}
POSTGRES = {"system": "postgresql", "join": "7"}
AIRFLOW = {"system": "airflow", "name": "etl", "id": "manual__1", "join": "etl load manual__1"}
EXECUTES = {"system": "spark", "role": "executor", "id": "app-2026-0001", "worker": "4", "join": "app-2026-0001/4"}
STEP = {"system": "slurm", "role": "task", "id": "123"}

EXAMPLES = [
    # sidekiq:lib/sidekiq/launcher.rb PROCTITLES
    titled("sidekiq 8.1.7 myapp [3 of 5 busy] stopping", **SIDEKIQ),
    titled("sidekiq 6.4.1  [0 of 2 busy]", **SIDEKIQ),
    titled("/usr/local/bundle/bin/sidekiq -C config/sidekiq.yml", **SIDEKIQ),  # Bundler's
    called("bundle exec sidekiq -C config/sidekiq.yml", **SIDEKIQ),
    called("/usr/bin/ruby3.1 -W0 -r ./a.rb /usr/bin/sidekiq -q high", **SIDEKIQ),
    called("ruby /usr/local/bin/bundle exec sidekiq", **SIDEKIQ),
    (
        {"title": "sidekiq 7.2.4 app [1 of 5 busy]", "environment": {"DYNO": "worker.1"}},
        SIDEKIQ | {"join": "worker.1:7:"},
    ),
    named("sidekiq.default", **SIDEKIQ),
    # resque:lib/resque/worker.rb procline()
    titled(
        "resque-2.6.0: Processing mails since 1700000000 [NotifyJob]",
        **RESQUE | {"role": "child", "queue": "mails", "name": "NotifyJob", "join": "box:5:"},
    ),
    (
        {"title": "resque-2.6.0: Processing mails since 1 [A::B]", "environment": {"FORK_PER_JOB": "false"}},
        RESQUE | {"queue": "mails", "name": "A::B"},
    ),
    titled("resque-2.6.0: Forked 4711 at 1700000000", **RESQUE),
    titled("resque-2.6.0: Waiting for high,mails", **RESQUE | {"queue": "high,mails"}),
    titled("resque: Starting", **RESQUE),
    titled("/usr/local/bundle/bin/rake environment resque:work QUEUE=mails", **RESQUE | {"queue": "mails"}),
    # solid_queue:lib/solid_queue/processes/procline.rb
    titled("solid-queue-worker(1.2.0): waiting for jobs in *", **SOLID | {"role": "worker", "queue": "*"}),
    titled(
        "solid-queue-worker[pipeline-1](1.3.0): waiting for jobs in a,b",
        **SOLID | {"role": "worker", "worker": "pipeline-1", "queue": "a,b"},
    ),
    titled("solid-queue-fork-supervisor(1.3.0): supervising 8, 9", **SOLID | {"role": "fork-supervisor"}),
    titled("solid-queue-dispatcher(1.3.0): dispatching every 1 seconds", **SOLID | {"role": "dispatcher"}),
    called("ruby bin/jobs", **SOLID | {"role": "supervisor"}),
    called("bin/jobs start", **SOLID | {"role": "supervisor"}),
    called("bundle exec rake solid_queue:start", **SOLID | {"role": "supervisor"}),
    # good_job:lib/good_job/cli.rb
    called("bundle exec good_job start", **GOOD),
    titled("/bundle/bin/good_job --queues=mails:2", **GOOD | {"queue": "mails:2"}),
    called("good_job", **GOOD),
    # delayed_job:lib/delayed/command.rb run_process()
    titled("delayed_job.2", **DELAYED | {"worker": "delayed_job.2"}),
    titled("myprefix/delayed_job", **DELAYED | {"worker": "delayed_job"}),
    called("ruby bin/delayed_job --queue=mails run", **DELAYED | {"worker": "delayed_job", "queue": "mails"}),
    called("ruby bin/rails jobs:work", **DELAYED),
    # celery:celery/platforms.py set_mp_process_title()
    titled(
        "[celeryd: celery@web.1:ForkPoolWorker-3]",
        system="celery",
        role="worker",
        worker="celery@web.1",
        join="celery@web.1 7",
    ),
    titled(
        "[celeryd: mail@box:MainProcess] -active- (worker -A proj -Q mails)",
        system="celery",
        role="master",
        worker="mail@box",
        queue="mails",
        join="mail@box",
    ),
    called("celery -A proj worker -Q mails", system="celery", queue="mails", join="celery@box 7"),
    called("/usr/bin/python3 -u -m celery --app=proj worker", system="celery", join="celery@box 7"),
    called("celery -A worker worker -n mail@%h", system="celery", join="mail@box 7"),
    called("celery worker -A p --hostname=m@h.example", system="celery", worker="m@h.example", join="m@h.example 7"),
    called("celery -A proj worker -n %i@%d", system="celery"),
    named("[celeryd: celer", system="celery"),
    # rq:rq/worker.py procline()
    titled(
        "rq:worker:8f3.a: Processing app.mail.send from high since 1700000000.5",
        system="rq",
        role="work-horse",
        worker="8f3.a",
        name="app.mail.send",
        queue="high",
        join="rq:worker:8f3.a",
    ),
    titled("rq:worker:8f3: Forked 9 at 1700000000.5", system="rq", role="worker", worker="8f3", join="rq:worker:8f3"),
    called("rq worker high", system="rq", queue="high"),
    called("python manage.py rqworker --name w1", system="rq", worker="w1", join="rq:worker:w1"),
    named("rq:worker:8f3.a", system="rq"),
    # gunicorn:gunicorn/arbiter.py, workers/base.py
    titled("gunicorn: worker [app:app]", system="gunicorn", role="worker", name="app:app"),
    titled("gunicorn: master [shop]", system="gunicorn", role="master", name="shop"),
    called("/usr/bin/python3 /usr/bin/gunicorn -b localhost:8000 a.wsgi:app", system="gunicorn", name="a.wsgi:app"),
    called("gunicorn app:app -w 4", system="gunicorn"),
    named("gunicorn", system="gunicorn"),
    # puma:lib/puma/cluster/worker.rb, launcher.rb
    titled("puma: cluster worker 0: 4711 [shop]", system="puma", role="worker", worker="0", name="shop"),
    titled("puma 6.4.2 (tcp://0.0.0.0:3000) [shop]", system="puma", role="server", name="shop"),
    called("bundle exec puma -C config/puma.rb", system="puma", role="server"),
    named("puma srv tp 001", system="puma"),
    # php-src:sapi/fpm/fpm/fpm_env.c
    titled("php-fpm: pool www", system="php-fpm", role="worker", name="www"),
    titled("php-fpm: master process (/etc/php/8.2/fpm/php-fpm.conf)", system="php-fpm", role="master"),
    named("php-fpm8.2", system="php-fpm"),
    # postgres:src/backend/utils/misc/ps_status.c
    titled("postgres: shop orders [local] SELECT", **POSTGRES | {"role": "backend", "name": "SELECT"}),
    titled(
        "postgres: main: shop orders 10.0.0.1(5123) idle in transaction",
        **POSTGRES | {"role": "backend", "name": "idle in transaction"},
    ),
    titled("postgres: checkpointer", **POSTGRES | {"role": "checkpointer"}),
    titled("postgres: main: autovacuum worker orders", **POSTGRES | {"role": "autovacuum worker"}),
    titled("postgres: walsender repl [local] streaming 0/3000", **POSTGRES | {"role": "walsender"}),
    titled("postgres: parallel worker for PID 77", **POSTGRES | {"role": "parallel worker"}),
    titled("postgres: some extension", **POSTGRES),
    called("/usr/lib/postgresql/15/bin/postgres -D /var/lib/pg", system="postgresql", role="postmaster"),
    named("postgres", **POSTGRES),
    # airflow:.../standard_task_runner.py, celery_executor_utils.py, local_executor.py; 3: task-sdk task_runner.py
    titled(
        "airflow task supervisor: ['airflow', 'tasks', 'run', 'etl', 'load', 'manual__1', '--local']",
        **AIRFLOW | {"role": "supervisor"},
    ),
    titled("airflow task runner: etl load manual__1 42", **AIRFLOW | {"role": "task"}),
    titled(f"airflow worker -- {TASK_ID}", system="airflow", role="task", id=TASK_ID, join=TASK_ID),
    called("/usr/bin/python /usr/local/bin/airflow tasks run etl load manual__1 --local", **AIRFLOW),
    called("airflow scheduler", system="airflow", role="scheduler"),
    having(
        {"AIRFLOW_CTX_DAG_ID": "etl", "AIRFLOW_CTX_TASK_ID": "load", "AIRFLOW_CTX_DAG_RUN_ID": "manual__1"},
        **AIRFLOW | {"role": "task"},
    ),
    # spark:core/src/main/scala/org/apache/spark/executor/CoarseGrainedExecutorBackend.scala
    called(
        f"/usr/bin/java -cp /opt/jars/* {EXECUTOR} --driver-url spark://x --executor-id 4 --app-id app-2026-0001",
        **EXECUTES,
    ),
    called("python3 -m pyspark.daemon pyspark.worker", system="spark", role="python-worker"),
    having(
        {"SPARK_EXECUTOR_ID": "4", "SPARK_APPLICATION_ID": "spark-1f"},
        system="spark",
        id="spark-1f",
        worker="4",
        join="spark-1f/4",
    ),
    # slurm:src/slurmd/slurmstepd, src/plugins/cgroup
    titled("slurmstepd: [123.batch]", system="slurm", role="slurmstepd", id="123", join="123.batch"),
    within("/system.slice/slurmstepd.scope/job_123/step_0/user/task_0", **STEP, join="123.0"),
    within("/system.slice/n1_slurmstepd.scope/job_123/step_batch", **STEP, join="123.batch"),
    within(
        "/slurm_n1/uid_1000/job_123/step_extern/task_1",
        {"SLURM_JOB_NAME": "fit"},
        **STEP,
        name="fit",
        join="123.extern",
    ),
    within(
        "/system.slice/slurmstepd.scope/sEKNKTV3WPV500/step_0/user/task_0",
        {"SLURM_JOB_ID": "123"},
        **STEP,
        join="123.0",
    ),
    within("/system.slice/slurmstepd.scope/sEKNKTV3WPV500/step_0", **STEP | {"id": "sEKNKTV3WPV500"}),
    having({"SLURM_JOB_ID": "123"}, **STEP, join="123"),
    named("slurmstepd", system="slurm", role="slurmstepd"),
    having({"CI_JOB_ID": "55", "CI_JOB_NAME": "test 1/2"}, system="gitlab_runner", id="55", name="test 1/2", join="55"),
    having(
        {"BUILD_TAG": "jenkins-shop-7", "JOB_NAME": "shop"},
        system="jenkins",
        id="jenkins-shop-7",
        name="shop",
        join="jenkins-shop-7",
    ),
]
