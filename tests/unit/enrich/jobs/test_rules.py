# SPDX-License-Identifier: Apache-2.0
"""Workers of job systems, from titles as the systems' sources build them; and similar ones that are none."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.job_examples import EXAMPLES, EXECUTOR
from support.probe_events import kill

from ooMtrace import record
from ooMtrace.enrich.jobs.match import PATTERNS, add_job, match
from ooMtrace.enrich.jobs.rules import RULES

DOCS = Path(__file__).parents[4] / "docs/jobs.md"
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


def victim(title=None, args=None, path=None, hostname="box", **changes):
    """A worker that saw itself as 7 on `box`, forked by 5."""
    known: dict[str, Any] = {"vpid": 7, "comm": "ruby", "parent": record.Parent(pid=90, vpid=5, comm="ruby")} | changes
    args = tuple(args.split()) if isinstance(args, str) else args
    return kill(
        process=record.Process(pid=100, title=title, command_args=args, **known),
        namespace=record.Namespace(hostname=hostname),
        cgroup=None if path is None else record.Cgroup(path=path),
    )


def job_of(*args, **changes):
    """Return the known facts of the job, without its registry."""
    found = add_job()(victim(*args, **changes)).job
    names = ("system", "role", "queue", "name", "id", "worker", "join")
    return None if found is None else {name: fact for name in names if (fact := getattr(found, name)) is not None}


@pytest.mark.parametrize(("given", "expected"), EXAMPLES)
def test_a_worker_is_recognized(given, expected):
    assert job_of(**given) == expected


def test_every_rule_has_an_example():
    hit = [found[0] for given, _ in EXAMPLES if (found := match(victim(**given)))]

    assert [rule for rule in RULES if rule not in hit] == []


def test_each_system_has_a_rule():
    assert {rule.system for rule in RULES} == set(NAMES)


def test_the_whole_job_is_in_the_record():
    before = victim("postgres: shop orders [local] SELECT")

    assert add_job()(before).job == record.Job(
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
        "gunicorn_stats",
        "",
    ],
)
def test_similar_command_lines_are_not_workers(args):
    as_arguments, as_title = victim(args=args), victim(title=args)

    assert add_job()(as_arguments) is as_arguments
    assert add_job()(as_title) is as_title


@pytest.mark.parametrize(
    "title", ["resque-scheduler-4.0: Processing", "postgres", "resque-pool-master[app]: managing [1]", "rq:worker:"]
)
def test_similar_titles_are_not_workers(title):
    assert job_of(title) in (None, {"system": "postgresql", "role": "postmaster"})


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
def test_similar_cgroups_are_not_slurms(path):
    assert job_of(path=path) is None


@pytest.mark.parametrize(
    "environment", [{"CI_JOB_ID": ""}, {"CI_JOB_ID": "x"}, {"BUILD_TAG": ""}, {"SLURM_JOB_ID": "?"}]
)
def test_an_environment_with_invalid_ids_is_no_job(environment):
    assert job_of(environment=environment) is None


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
def test_a_key_with_an_unknown_part_is_left_out(title, unknown):
    found = add_job()(victim(title, **unknown)).job

    assert found is not None
    assert (found.join, found.registry) == (None, None)


def test_a_worker_without_a_namespace_is_recognized():
    bare = kill(process=record.Process(pid=100, vpid=7, title="sidekiq 7.2.4 app [1 of 5 busy]"))

    assert add_job()(bare).job == record.Job(system="sidekiq", role="worker")


def test_an_unknown_process_is_no_worker():
    bare = kill(process=record.Process())

    assert add_job()(bare) is bare


def test_a_title_takes_precedence_over_an_inherited_environment():
    assert job_of("postgres: a b [local] idle", environment={"BUILD_TAG": "jenkins-deploy-1"})["system"] == "postgresql"


def test_no_key_contains_none():
    nothing = {"vpid": None, "hostname": None, "parent": None}

    assert not any("None" in job_of(**given | nothing).get("join", "") for given, _ in EXAMPLES)


PIECES = st.sampled_from(
    [
        *(given.get("title") or given.get("args") or "x" for given, _ in EXAMPLES),
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
def test_no_text_of_a_victim_raises_or_takes_long(title, args, comm, path, hostname, environment):
    began = time.monotonic()
    found = add_job()(victim(title, args, path, hostname, comm=comm, environment=environment)).job

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
def test_a_hostile_title_is_matched_in_time(begin, unit):
    text = (begin + unit * 100_000)[:100_000]
    slow = victim(text, path=text, comm=text, environment={"BUILD_TAG": text, "SLURM_JOB_ID": text})
    began = time.monotonic()

    add_job()(slow)

    assert time.monotonic() - began < 0.5


def test_templates_and_groups_use_only_known_names():
    surroundings = {"hostname", "pid", "parent"}
    for rule in RULES:
        groups = {name for _, pattern in (*rule.where, *rule.also) for name in PATTERNS[pattern].groupindex}
        parts = {part for template in rule.join for part in re.findall(r"\{(\w+)\}", template)}
        assert parts <= groups | surroundings
        assert groups <= parts | {"role", "queue", "name", "id", "worker", "step"}
        assert bool(rule.join) == bool(rule.registry)


def test_the_documentation_has_a_section_for_each_system():
    assert sorted(re.findall(r"(?m)^## (.+)$", DOCS.read_text())) == sorted(NAMES.values())


SLURM = "/slurm/uid_1000/job_123/step_0"
AIRFLOW_TASK = {"AIRFLOW_CTX_DAG_ID": "etl", "AIRFLOW_CTX_TASK_ID": "load"}
JENKINS = {"BUILD_TAG": "jenkins-shop-7"}


@pytest.mark.parametrize(
    ("sources", "system", "role"),
    [
        ({"title": "sidekiq 7.2.4 app [1 of 5 busy]", "path": SLURM, "comm": "puma srv tp"}, "sidekiq", "worker"),
        ({"title": "postgres: a b [local] idle", "comm": "postgres"}, "postgresql", "backend"),
        ({"path": SLURM, "environment": JENKINS}, "slurm", "task"),
        ({"environment": AIRFLOW_TASK | JENKINS}, "airflow", "task"),
        ({"environment": {"SLURM_JOB_ID": "1", "CI_JOB_ID": "2"}}, "slurm", "task"),
        ({"environment": {"CI_JOB_ID": "2"}, "comm": "postgres"}, "gitlab_runner", None),
    ],
)
def test_titles_precede_cgroups_environments_and_names(sources, system, role):
    job = add_job()(victim(**sources)).job

    assert (job.system, job.role) == (system, role)


def test_what_the_arguments_say_takes_precedence_over_the_environment():
    args = f"java {EXECUTOR} --executor-id 4 --app-id app-1"
    environment = {"SPARK_EXECUTOR_ID": "5", "SPARK_APPLICATION_ID": "app-2"}

    assert job_of(args=args, environment=environment)["join"] == "app-1/4"


@pytest.mark.parametrize(("padding", "queue"), [(10, "mails"), (5000, None)])
def test_only_the_beginning_of_a_text_is_searched(padding, queue):
    args = ("celery", "-A", "proj", "worker", "x" * padding, "-Q", "mails")

    assert job_of(args=args).get("queue") == queue
