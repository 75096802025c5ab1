# SPDX-License-Identifier: Apache-2.0
"""Which enrichers there are for which settings, and that their order keeps secrets out of a line."""

from __future__ import annotations

import pytest
from support.probe_events import kill

from ooMtrace import record
from ooMtrace.enrich import chain
from ooMtrace.enrich.chain import backfill_enrichers, enrichers
from ooMtrace.output.encode import encode
from ooMtrace.record import OomKill
from ooMtrace.settings import Settings

SECRET = "hunter2hunter2"


def enriched(one: OomKill, settings: Settings) -> OomKill:
    """Run the whole chain; without /proc, for the victim is made up."""
    for enrich in enrichers(settings, host_pids=False):
        one = enrich(one)
    return one


def sidekiq(*, title: str, environment: dict[str, str] | None = None) -> OomKill:
    process = record.Process(pid=100, vpid=1, comm="ruby", title=title, environment=environment)
    return kill(process=process, namespace=record.Namespace(hostname="app-1"))


@pytest.mark.parametrize("cmdline", [True, False])
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
    one = enriched(sidekiq(title=title), Settings(cmdline=cmdline, network=False))

    assert SECRET.encode() not in encode(one)


def test_without_cmdline_no_job_is_derived_from_what_is_withheld():
    one = enriched(sidekiq(title="sidekiq 7.3 shop [1 of 5 busy]"), Settings(cmdline=False, network=False))

    assert one.job is None
    assert one.process.title is None
    assert one.withheld


def test_a_worker_is_recognised_at_the_end_of_the_chain():
    one = enriched(sidekiq(title="sidekiq 7.3 shop [1 of 5 busy]"), Settings(network=False))

    assert one.job is not None
    assert one.job.system == "sidekiq"


def test_services_are_named_by_the_settings():
    remote = record.Connection(
        fd=3, transport="tcp", state="established", remote=record.Endpoint(address="::1", port=7000)
    )
    process = record.Process(pid=100, comm="ruby", connections=(remote,))

    one = enriched(kill(process=process), Settings(services={7000: "our-redis"}, network=False))

    assert one.process.connections is not None
    assert one.process.connections[0].service == "our-redis"


def test_with_other_pids_nobody_looks_into_proc_for_a_victim(monkeypatch):
    asked: list[object] = []
    for name in ("add_proc_status", "add_proc_cmdline"):
        monkeypatch.setattr(chain, name, lambda name=name: asked.append(name))
    monkeypatch.setattr(chain, "add_netns_addresses", lambda *, search: asked.append(("netns", search)))

    enrichers(Settings(), host_pids=False)
    assert asked == [("netns", False)]

    enrichers(Settings(), host_pids=True)
    assert set(asked[1:]) == {"add_proc_status", "add_proc_cmdline", ("netns", True)}


def test_without_network_no_addresses_are_looked_up(monkeypatch):
    monkeypatch.setattr(chain, "add_netns_addresses", lambda **_: pytest.fail("looked up"))

    enrichers(Settings(network=False), host_pids=True)


def test_a_backfilled_kill_is_not_looked_up_in_proc():
    assert len(backfill_enrichers()) == 1
