# SPDX-License-Identifier: Apache-2.0
"""Rules for job queues. Data only."""

from __future__ import annotations

from ooMtrace.enrich.jobs.rule import END, OPTIONS, PYTHON, RAKE, RUBY, Rule, S, W

CELERY_OPTIONS = OPTIONS % (("A|b|-app|-broker|-result-backend|-loader|-config|-workdir",) * 2)
CELERY = rf"{PYTHON}celery{S}{CELERY_OPTIONS}worker{END}"
CELERY_QUEUE = rf"{S}(?:-Q|--queues)[\0 =](?P<queue>{W}+)"
CELERY_NAME = rf"{S}(?:-n|--hostname)[\0 =]"

SIDEKIQ = "Redis: member of `processes` that begins with it; hash `<member>:work` (`:workers` before 7) has the jobs"
RESQUE = "Redis: member of `resque:workers` that begins with it; `resque:worker:<member>` has the job"
SOLID_QUEUE = "solid_queue_processes: hostname and pid"
GOOD_JOB = "good_job_processes: hostname and pid in state"
DELAYED_JOB = "delayed_jobs: locked_by ends with it"
CELERY_INSPECT = "celery inspect active: the worker's name and worker_pid"
RQ = "Redis: the hash of that name, its current_job"

SIDEKIQ_DYNO = (("environment.DYNO", r"(?P<dyno>.+)"),)
SIDEKIQ_JOIN = ("{dyno}:{pid}:", "{hostname}:{pid}:")
HOST_PID = ("{hostname}:{pid}",)
PREFIX = ("{hostname}:{pid}:",)
DELAYED_JOB_NAME = ("host:{hostname} pid:{pid}",)
CELERY_CHILD = ("{worker} {pid}",)

QUEUES = (
    # lib/sidekiq/launcher.rb (the title) and component.rb (the identity)
    Rule(
        system="sidekiq",
        role="worker",
        where=(("cmdline", rf"{RUBY}sidekiq{END}"),),
        also=SIDEKIQ_DYNO,
        join=SIDEKIQ_JOIN,
        registry=SIDEKIQ,
    ),
    # lib/resque/worker.rb: the parent registers, and sets the title before it forks (if it forks)
    Rule(
        system="resque",
        role="worker",
        where=(
            ("environment.FORK_PER_JOB", r"\Afalse\Z"),
            ("cmdline", r"\Aresque-[0-9]\S*: Processing (?P<queue>\S+) since [0-9]+ \[(?P<name>[^\]]+)\]"),
        ),
        join=PREFIX,
        registry=RESQUE,
    ),
    Rule(
        system="resque",
        role="child",
        where=(("cmdline", r"\Aresque-[0-9]\S*: Processing (?P<queue>\S+) since [0-9]+ \[(?P<name>[^\]]+)\]"),),
        join=("{hostname}:{parent}:",),
        registry=RESQUE,
    ),
    Rule(
        system="resque",
        role="worker",
        where=(("cmdline", r"\Aresque(?:-[0-9]\S*)?: (?:Starting|Paused|Forked [0-9]+|Waiting for (?P<queue>.+))"),),
        join=PREFIX,
        registry=RESQUE,
    ),
    Rule(
        system="resque",
        role="worker",
        where=(("cmdline", rf"{RAKE}resque:work{END}"),),
        also=(("cmdline", rf"{S}QUEUES?=(?P<queue>{W}+)"),),
        join=PREFIX,
        registry=RESQUE,
    ),
    # lib/solid_queue/processes/procline.rb, registrable.rb
    Rule(
        system="solid_queue",
        where=(
            ("cmdline", r"\Asolid-queue-(?P<role>[a-z]+(?:-[a-z]+)*)(?:\[(?P<worker>[^\]]+)\])?\([^)]*\):(?: |\Z)"),
        ),
        also=(("cmdline", r"\): (?:waiting for|performing [0-9]+) jobs in (?P<queue>.+)"),),
        join=HOST_PID,
        registry=SOLID_QUEUE,
    ),
    Rule(
        system="solid_queue",
        role="supervisor",
        where=(("cmdline", rf"(?:{RAKE}solid_queue:start|{RUBY}(?<=bin/)jobs(?:{S}start)?)(?:\Z|{S}-|(?<=start){S})"),),
        join=HOST_PID,
        registry=SOLID_QUEUE,
    ),
    # app/models/good_job/process.rb; the title is Bundler's: the command line without Ruby and Bundler itself
    Rule(
        system="good_job",
        role="worker",
        where=(("cmdline", rf"{RUBY}good_job(?:{S}start{END}|{S}--|\Z)"),),
        also=(("cmdline", rf"{S}--queues[\0 =](?P<queue>{W}+)"),),
        join=HOST_PID,
        registry=GOOD_JOB,
    ),
    # lib/delayed/command.rb (the title) and worker.rb (the name)
    Rule(
        system="delayed_job",
        role="worker",
        where=(
            (
                "cmdline",
                rf"{RUBY}(?P<worker>delayed_job(?:\.[\w-]+)?)(?:\Z|{S}(?:{W}*{S})*?(?:start|run|restart){END})",
            ),
        ),
        also=(("cmdline", rf"{S}--queues?[\0 =](?P<queue>{W}+)"),),
        join=DELAYED_JOB_NAME,
        registry=DELAYED_JOB,
    ),
    Rule(
        system="delayed_job",
        role="worker",
        where=(("cmdline", rf"{RAKE}jobs:work(?:off)?{END}"),),
        also=(("cmdline", rf"{S}QUEUES?=(?P<queue>{W}+)"),),
        join=DELAYED_JOB_NAME,
        registry=DELAYED_JOB,
    ),
    # celery/platforms.py and concurrency/prefork.py: with setproctitle
    Rule(
        system="celery",
        role="worker",
        where=(("cmdline", r"\A\[celeryd: (?P<worker>[^\]\s]+):[A-Za-z]*PoolWorker-[0-9:]+\]"),),
        join=CELERY_CHILD,
        registry=CELERY_INSPECT,
    ),
    Rule(
        system="celery",
        role="master",
        where=(("cmdline", r"\A\[celeryd: (?P<worker>[^\]\s]+):MainProcess\]"),),
        also=(("cmdline", r" (?:-Q|--queues)[ =](?P<queue>[^ )]+)"),),
        join=("{worker}",),
        registry="the worker's name, in the logs and in celery events",
    ),
    # Without it the master and its children look the same. celery/utils/nodenames.py: %h is the host's name.
    Rule(
        system="celery",
        where=(("cmdline", CELERY), ("cmdline", rf"{CELERY_NAME}(?P<node>[^\0 %@]+)@%h{END}")),
        also=(("cmdline", CELERY_QUEUE),),
        join=("{node}@{hostname} {pid}",),
        registry=CELERY_INSPECT,
    ),
    Rule(
        system="celery",
        where=(("cmdline", CELERY), ("cmdline", rf"{CELERY_NAME}(?P<worker>[^\0 %@]+@[^\0 %@]+){END}")),
        also=(("cmdline", CELERY_QUEUE),),
        join=CELERY_CHILD,
        registry=CELERY_INSPECT,
    ),
    Rule(
        system="celery",
        where=(("cmdline", CELERY), ("cmdline", rf"{CELERY_NAME}")),
        also=(("cmdline", CELERY_QUEUE),),
    ),
    Rule(
        system="celery",
        where=(("cmdline", CELERY),),
        also=(("cmdline", CELERY_QUEUE),),
        join=("celery@{hostname} {pid}",),
        registry=CELERY_INSPECT,
    ),
    # rq/worker.py: procline(), with setproctitle
    Rule(
        system="rq",
        role="work-horse",
        where=(("cmdline", r"\Arq:worker:(?P<worker>\S+): Processing (?:(?P<name>.+?) from (?P<queue>\S+) since )?"),),
        join=("rq:worker:{worker}",),
        registry=RQ,
    ),
    Rule(
        system="rq",
        role="worker",
        where=(("cmdline", r"\Arq:worker:(?P<worker>\S+): "),),
        join=("rq:worker:{worker}",),
        registry=RQ,
    ),
    Rule(
        system="rq",
        where=(("cmdline", rf"{PYTHON}(?:rq(?:\.cli)?{S}worker|manage\.py{S}rqworker){END}"),),
        also=(
            ("cmdline", rf"{S}(?:-n|--name)[\0 =](?P<worker>{W}+)"),
            ("cmdline", rf"{S}(?:rq)?worker{S}(?P<queue>(?!-){W}+)\Z"),
        ),
        join=("rq:worker:{worker}",),
        registry=RQ,
    ),
)

QUEUE_COMMS = (
    # lib/sidekiq/component.rb: names of threads
    Rule(
        system="sidekiq",
        role="worker",
        where=(("comm", r"\Asidekiq\."),),
        also=SIDEKIQ_DYNO,
        join=SIDEKIQ_JOIN,
        registry=SIDEKIQ,
    ),
    # Python's setproctitle sets the comm, too, to the first 15 bytes of the title.
    Rule(system="celery", where=(("comm", r"\A\[celeryd: "),)),
    Rule(system="rq", where=(("comm", r"\Arq:worker:"),)),
)
