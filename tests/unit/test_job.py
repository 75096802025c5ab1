# SPDX-License-Identifier: Apache-2.0
"""Whose worker a victim was, from titles as the systems' sources build them; and what only looks alike."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sightings import kill

from ooMtrace import record
from ooMtrace.enrich.job import PATTERNS, job, match
from ooMtrace.enrich.jobs import RULES

DOCS = Path(__file__).parents[2] / "docs/jobs.md"
NAMES = {
    "sidekiq": "Sidekiq",
    "resque": "Resque",
    "solid_queue": "Solid Queue",
    "good_job": "GoodJob",
    "delayed_job": "Delayed Job",
    "celery": "Celery",
    "rq": "RQ",
    "gunicorn": "Gunicorn",
    "puma": "Puma",
    "php-fpm": "PHP-FPM",
    "postgresql": "PostgreSQL",
    "spark": "Spark",
    "slurm": "Slurm",
    "airflow": "Airflow",
    "gitlab_runner": "GitLab Runner",
    "jenkins": "Jenkins",
}
TASK_ID = "0198c0de-1111-7abc-8def-0123456789ab"
EXECUTOR = "org.apache.spark.executor.CoarseGrainedExecutorBackend"


def victim(title=None, args=None, path=None, hostname="box", **changes):
    """A worker that saw itself as 7 on `box`, forked by 5."""
    known = {"vpid": 7, "comm": "ruby", "parent": record.Parent(pid=90, vpid=5, comm="ruby")} | changes
    args = tuple(args.split()) if isinstance(args, str) else args
    return kill(
        process=record.Process(pid=100, title=title, command_args=args, **known),
        namespace=record.Namespace(hostname=hostname),
        cgroup=None if path is None else record.Cgroup(path=path),
    )


def told(*args, **changes):
    """The job without its registry, as a dictionary of what is known."""
    found = job()(victim(*args, **changes)).job
    names = ("system", "role", "queue", "name", "id", "worker", "join")
    return None if found is None else {name: one for name in names if (one := getattr(found, name)) is not None}


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
        f"/usr/bin/java -cp /opt/spark/jars/* -Xmx1g {EXECUTOR} --driver-url spark://x --executor-id 4 --app-id app-2026-0001",
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


@pytest.mark.parametrize(("given", "expected"), EXAMPLES)
def test_a_worker_is_known(given, expected):
    assert told(**given) == expected


def test_no_rule_goes_without_an_example():
    hit = [found[0] for given, _ in EXAMPLES if (found := match(victim(**given)))]

    assert [rule for rule in RULES if rule not in hit] == []


def test_each_system_has_a_rule():
    assert {rule.system for rule in RULES} == set(NAMES)


def test_the_whole_job_is_in_the_record():
    before = victim("postgres: shop orders [local] SELECT")

    assert job()(before).job == record.Job(
        system="postgresql",
        role="backend",
        name="SELECT",
        join="7",
        registry="pg_stat_activity: pid; after the restart, the server's log",
    )


@pytest.mark.parametrize(
    "args",
    [
        "vim sidekiq.rb",
        "vim sidekiq",
        "grep celery",
        "grep celery worker",
        "tail -f postgres: log",
        "tail -f resque-2.6.0: Processing a since 1 [B]",
        "sh -c sidekiq",
        "ruby -e sleep sidekiq",
        "ruby sidekiq.rb",
        "python3 -c code celery worker",
        "celery -A worker beat",
        "celery -A proj beat",
        "sidekiqswarm",
        "sidekiqmon",
        "rq info",
        "airflow tasks list etl",
        "airflow tasks run",
        "java -jar spark.jar",
        f"less {EXECUTOR} --executor-id 4",
        "bin/jobs check",
        "ruby jobs",
        "rake resque:workers_count",
        "bin/delayed_job stop",
        "postgres_exporter --web",
        "psql postgres",
        "puma-status",
        "gunicorn_stats",
        "php fpm",
        "",
    ],
)
def test_what_only_looks_alike_is_not_taken_for_it(args):
    as_arguments, as_title = victim(args=args), victim(title=args)

    assert job()(as_arguments) is as_arguments
    assert job()(as_title) is as_title


@pytest.mark.parametrize(
    "title", ["resque-scheduler-4.0: Processing", "postgres", "resque-pool-master[app]: managing [1]", "rq:worker:"]
)
def test_a_kin_of_a_worker_is_none(title):
    assert told(title) in (None, {"system": "postgresql", "role": "postmaster"})


@pytest.mark.parametrize(
    "path",
    [
        "/job_123/step_0",
        "/user.slice/job_123/step_0",
        "/system.slice/slurmstepd.scope/system",
        "/system.slice/slurmstepd.scope/job_x/step_0",
        "/slurm/job_123",
    ],
)
def test_a_cgroup_that_only_looks_like_slurms_is_not_taken_for_it(path):
    assert told(path=path) is None


@pytest.mark.parametrize(
    "environment", [{"CI_JOB_ID": ""}, {"CI_JOB_ID": "x"}, {"BUILD_TAG": ""}, {"SLURM_JOB_ID": "?"}]
)
def test_an_environment_that_says_nothing_is_no_job(environment):
    assert told(environment=environment) is None


@pytest.mark.parametrize(
    ("title", "unknown"),
    [
        ("sidekiq 7.2.4 app [1 of 5 busy]", {"vpid": None}),
        ("sidekiq 7.2.4 app [1 of 5 busy]", {"hostname": None}),
        ("resque-2.6.0: Processing a since 1 [B]", {"parent": None}),
        ("resque-2.6.0: Processing a since 1 [B]", {"parent": record.Parent(pid=90, vpid=None, comm="ruby")}),
        ("resque-2.6.0: Processing a since 1 [B]", {"parent": record.Parent(pid=90, vpid=5, comm="systemd")}),
        ("resque-2.6.0: Processing a since 1 [B]", {"parent": record.Parent(pid=90, vpid=5), "comm": None}),
        ("resque-2.6.0: Processing a since 1 [B]", {"vpid": 1}),
        ("delayed_job.0", {"hostname": None}),
        ("postgres: a b [local] idle", {"vpid": None}),
        ("[celeryd: celery@h:ForkPoolWorker-1]", {"vpid": None}),
        ("[celeryd: ********:ForkPoolWorker-1]", {}),
        ("rq:worker:********: Forked 9 at 1.0", {}),
        ("airflow task runner: etl ******** manual__1", {}),
    ],
)
def test_a_key_that_lacks_a_part_is_no_key(title, unknown):
    found = job()(victim(title, **unknown)).job

    assert found is not None
    assert (found.join, found.registry) == (None, None)


def test_a_worker_without_a_namespace_is_still_a_worker():
    bare = kill(process=record.Process(pid=100, vpid=7, title="sidekiq 7.2.4 app [1 of 5 busy]"))

    assert job()(bare).job == record.Job(system="sidekiq", role="worker")


def test_a_process_of_which_nothing_is_known_is_nobodys_worker():
    bare = kill(process=record.Process())

    assert job()(bare) is bare


def test_a_worker_is_more_than_the_ci_job_that_restarted_it():
    assert told("postgres: a b [local] idle", environment={"BUILD_TAG": "jenkins-deploy-1"})["system"] == "postgresql"


def test_no_key_says_none():
    nothing = {"vpid": None, "hostname": None, "parent": None}

    assert not any("None" in told(**given | nothing).get("join", "") for given, _ in EXAMPLES)


PIECES = st.sampled_from(
    [
        *(one[0].get("title") or one[0].get("args") or "x" for one in EXAMPLES),
        " ",
        "\0",
        "/",
        "-",
        "********",
        "{pid}",
        "\n",
    ]
)
TEXT = st.one_of(st.text(), st.lists(PIECES).map("".join))
KEYS = st.sampled_from([source.partition(".")[2] for rule in RULES for source, _ in rule.where if "." in source])


@given(
    title=st.none() | TEXT,
    args=st.none() | st.lists(TEXT).map(tuple),
    comm=st.none() | TEXT,
    path=st.none() | TEXT,
    hostname=st.none() | TEXT,
    environment=st.none() | st.dictionaries(KEYS | TEXT, TEXT),
)
def test_whatever_the_victim_wrote_it_does_no_harm(title, args, comm, path, hostname, environment):
    began = time.monotonic()
    found = job()(victim(title, args, path, hostname, comm=comm, environment=environment)).job

    assert time.monotonic() - began < 2
    assert found is None or found.system in NAMES


@pytest.mark.parametrize(
    "unit",
    [
        *("a", " ", "\0", "/", "-", "-r ", "-r -x ", "-/ ", "ruby ", "-x/rake ", "/sidekiq", "-Q ", "-n a@", "QUEUE="),
        *(
            " from ",
            " from a since",
            "- ",
            "a\0",
            "[",
            "(",
            "job_1/",
            "/slurm_",
            "_slurmstepd.scope/",
            ": ",
            "1",
            "start ",
        ),
        *("performing 1 jobs in ", "): performing 1", "a.", "a:"),
    ],
)
@pytest.mark.parametrize(
    "begin",
    [
        *(
            "",
            "ruby ",
            "python -W ",
            "rake ",
            "celery ",
            "celery -A ",
            "java ",
            "delayed_job ",
            "rq:worker:a: Processing ",
        ),
        *(
            "postgres: ",
            "[celeryd: ",
            "solid-queue-a",
            "airflow task runner: ",
            "bundle exec ",
            "gunicorn ",
            "resque-1",
        ),
    ],
)
def test_a_title_made_to_be_slow_is_not(begin, unit):
    text = (begin + unit * 100_000)[:100_000]
    slow = victim(text, path=text, comm=text, environment={"BUILD_TAG": text, "SLURM_JOB_ID": text})
    began = time.monotonic()

    job()(slow)

    assert time.monotonic() - began < 0.5


def test_templates_and_patterns_name_nothing_that_is_not_there():
    surroundings = {"hostname", "pid", "parent"}
    for rule in RULES:
        groups = {name for _, pattern in (*rule.where, *rule.also) for name in PATTERNS[pattern].groupindex}
        parts = {part for template in rule.join for part in re.findall(r"\{(\w+)\}", template)}
        assert parts <= groups | surroundings
        assert groups <= parts | {"role", "queue", "name", "id", "worker", "step"}
        assert bool(rule.join) == bool(rule.registry)


def test_the_page_has_a_section_for_each_system_and_no_other():
    assert sorted(re.findall(r"(?m)^## (.+)$", DOCS.read_text())) == sorted(NAMES.values())
