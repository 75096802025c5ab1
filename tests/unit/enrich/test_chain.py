# SPDX-License-Identifier: Apache-2.0
"""The whole chain on trees that stand in for /proc and /run: what it adds, and that its order protects secrets."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.probe_events import kill
from support.slow import at_once

from ooMtrace import record
from ooMtrace.enrich.chain import backfill_enrichers, enrichers
from ooMtrace.output.encode import encode
from ooMtrace.record import Connection, Endpoint, OomKill
from ooMtrace.settings import CMDLINE_MODES, Settings

SECRET = "hunter2hunter2"
OFFLINE = Settings(network=False)
STATUS = "Name:\tworker\nTgid:\t100\nPPid:\t1\nNStgid:\t100\t7\nThreads:\t1\n"


def enriched(victim: OomKill, settings: Settings, tree: Path = Path("/nowhere"), *, host_pids: bool = True) -> OomKill:
    chain = enrichers(settings, host_pids=host_pids, proc=tree / "proc", run=tree / "run")
    for enrich in (*chain.urgent, *chain.later, *map(at_once, chain.slow)):
        victim = enrich(victim)
    return victim


def backfilled(victim: OomKill) -> OomKill:
    for enrich in backfill_enrichers():
        victim = enrich(victim)
    return victim


def without_message(victim: OomKill) -> OomKill:
    return replace(victim, message="")


def sidekiq(*, title: str, environment: dict[str, str] | None = None) -> OomKill:
    process = record.Process(pid=100, vpid=1, comm="ruby", title=title, environment=environment)
    return kill(process=process, namespace=record.Namespace(hostname="app-1"))


def marked(**facts: Any) -> OomKill:
    """A victim of which the tracepoint reported only this; it lives in a network namespace that does not exist."""
    process = record.Process(tid=100, comm="worker", **facts)
    return kill(process=process, namespace=record.Namespace(hostname="app-1", net_ns="1"))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Process 100, a Sidekiq worker, in trees that stand in for /proc and /run."""
    (tmp_path / "proc/100/task/100").mkdir(parents=True)
    (tmp_path / "proc/100/status").write_text(STATUS)
    (tmp_path / "proc/100/task/100/comm").write_text("worker\n")
    (tmp_path / "proc/100/cmdline").write_bytes(b"bundle\0exec\0sidekiq\0--token\0%s\0" % SECRET.encode())
    (tmp_path / "proc/self/ns").mkdir(parents=True)
    (tmp_path / "proc/self/ns/net").touch()
    return tmp_path


@pytest.mark.parametrize("cmdline", CMDLINE_MODES)
@pytest.mark.parametrize(
    "title",
    [
        f"postgres: app password={SECRET} 10.0.0.1(5000) SELECT",
        f"sidekiq 7.3 --token={SECRET} [1 of 5 busy]",
        f"[celeryd: --password={SECRET}@host:MainProcess] -active-",
        f"resque-1.27: Processing mail since 1 [Job(password={SECRET})]",
        f"puma: cluster worker 0: 17 [api_key={SECRET}]",
    ],
)
def test_no_job_is_named_after_a_secret(title, cmdline):
    victim = enriched(sidekiq(title=title), Settings(cmdline=cmdline, network=False))

    assert SECRET not in str(victim.job)
    assert (SECRET.encode() in encode(victim)) is (cmdline == "full")


def test_without_cmdline_no_job_is_derived_from_what_is_withheld():
    victim = enriched(sidekiq(title="sidekiq 7.3 shop [1 of 5 busy]"), Settings(cmdline="none", network=False))

    assert victim.job is None
    assert victim.process.title is None
    assert victim.withheld == ("process.title",)


def test_without_cmdline_what_is_read_from_proc_is_withheld_too(tree):
    victim = enriched(marked(), Settings(cmdline="none", network=False), tree)

    assert (victim.process.pid, victim.process.command_args) == (100, None)
    assert victim.withheld == ("process.command_args",)


def test_a_worker_is_recognized_by_its_title():
    victim = enriched(sidekiq(title="sidekiq 7.3 shop [1 of 5 busy]"), OFFLINE)

    assert victim.job is not None
    assert victim.job.system == "sidekiq"


def test_a_worker_is_recognized_by_arguments_that_only_proc_has_and_its_secrets_are_redacted(tree):
    """Status gives the pid, that the arguments, those are redacted, and the job follows from them."""
    victim = enriched(marked(), OFFLINE, tree)

    assert victim.process.command_args == ("bundle", "exec", "sidekiq", "--token", "********")
    assert victim.redacted == ("process.command_args",)
    assert victim.job is not None
    assert (victim.job.system, victim.job.join) == ("sidekiq", "app-1:7:")


def test_if_proc_lists_other_pids_no_process_is_looked_up(tree):
    victim = marked()
    named = marked(pid=100)

    assert without_message(enriched(victim, OFFLINE, tree, host_pids=False)) == without_message(victim)
    assert without_message(enriched(named, OFFLINE, tree, host_pids=False)) == without_message(named)
    assert enriched(victim, Settings(), tree, host_pids=False).missing == ("namespace.addresses",)


def test_without_network_no_addresses_are_looked_up(tree):
    assert enriched(marked(), Settings(), tree).missing == ("namespace.addresses",)
    assert enriched(marked(), OFFLINE, tree).missing == ()


def test_the_operators_service_names_take_precedence():
    redis = Connection(fd=3, transport="tcp", remote=Endpoint(address="10.0.0.1", port=6379))
    victim = kill(process=record.Process(pid=100, connections=(redis,)))

    for services, name in (({}, "redis"), ({6379: "cache"}, "cache")):
        (connection,) = enriched(victim, Settings(network=False, services=services)).process.connections
        assert connection.service == name


def test_a_users_name_is_added_to_traced_and_backfilled_kills():
    root = kill(process=record.Process(pid=100, user=record.User(id=0)))

    assert enriched(root, OFFLINE).process.user == record.User(id=0, name="root")
    assert backfilled(root).process.user == record.User(id=0, name="root")


def test_a_backfilled_kill_is_not_looked_up_in_proc():
    """This pid is alive, and another process by now."""
    victim = kill(process=record.Process(pid=os.getpid(), tid=os.getpid()))

    assert without_message(backfilled(victim)) == without_message(victim)


def test_traced_and_backfilled_kills_name_their_container():
    """The message leads with it; a secret in the title is in neither."""
    cgroup = record.Cgroup(path=f"/docker/{'a1' * 32}", version=2)
    victim = replace(sidekiq(title=f"sidekiq 7.3 --token={SECRET}"), cgroup=cgroup)

    for found, who in ((enriched(victim, OFFLINE), "sidekiq (ruby, pid 100)"), (backfilled(victim), "ruby (pid 100)")):
        assert found.container == record.Container(id="a1" * 32, runtime="docker")
        assert found.message.startswith(f"{who} in container a1a1a1a1a1a1 was killed")
        assert SECRET not in found.message


@pytest.mark.parametrize(("host_pids", "is_searched"), [(True, True), (False, False)])
def test_a_namespace_is_searched_only_if_proc_lists_the_hosts_pids(tree, monkeypatch, host_pids, is_searched):
    listed: list[Path] = []

    def note(folder: Path) -> list[str]:
        listed.append(folder)
        return []

    monkeypatch.setattr(os, "listdir", note)

    enriched(marked(pid=100), Settings(), tree, host_pids=host_pids)

    assert (tree / "proc" in listed) is is_searched
