# SPDX-License-Identifier: Apache-2.0
"""Which namespace is queried, when, and what is reported: on trees of files that stand in for namespaces."""

from __future__ import annotations

import builtins
import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.probe_events import kill
from support.slow import at_once

from ooMtrace import record
from ooMtrace.enrich import Enricher, Later
from ooMtrace.enrich.netns_addresses import Limits, NetnsAddresses, Query, query_addresses
from ooMtrace.enrich.netns_search import SearchLimits
from ooMtrace.kernel.snapshot import rfc3339

ADDRESSES = ("10.1.2.3", "fd00::3")
BEFORE, KILLED, AFTER = "2023-11-14T22:00:00.000000Z", "2023-11-14T22:13:19.000001Z", "2023-11-14T22:13:20.000000Z"
LIMITS = Limits()


class SetClock:
    """A clock that only the test advances."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def monotonic_ns(self) -> int:
        return int(self.seconds * 1e9)

    def time_ns(self) -> int:
        """The kill of `killed_in` was observed just before the first look at anything."""
        return 1_700_000_000_000_000_000 + int((self.seconds - 1000.0) * 1e9)

    def sleep(self, _seconds: float) -> None:
        raise AssertionError("nothing sleeps")


class Host:
    """Trees that stand in for /proc and /run; files are namespaces, and a query of one finds ADDRESSES."""

    def __init__(self, folder: Path) -> None:
        self.proc, self.run, self.spare = folder / "proc", folder / "run", folder / "spare"
        self.spare.mkdir()
        self.own = self._make(self.proc / "self/ns/net")
        self.clock = SetClock()
        self.queried: list[int] = []
        self.answer: tuple[str, ...] | None = ADDRESSES
        self.enrich = self.enricher()

    def enricher(self, query: Query | None = None, **changes: Any) -> Enricher:
        return at_once(self.addresses(query, **changes), self._wait_until)

    def addresses(self, query: Query | None = None, **changes: Any) -> NetnsAddresses:
        whole: dict[str, Any] = {"proc": self.proc, "run": self.run, "clock": self.clock, "query": query or self.query}
        return NetnsAddresses(**whole | changes)

    def _wait_until(self, at_ns: int) -> None:
        self.clock.seconds = (at_ns + 1000) / 1e9  # not a moment before it, for seconds are rounded

    def process(self, pid: int, like: Path | None = None) -> Path:
        return self._make(self.proc / str(pid) / "ns/net", like)

    def named(self, name: str, like: Path | None = None) -> Path:
        return self._make(self.run / name, like)

    def _make(self, path: Path, like: Path | None = None) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.hardlink_to(like) if like else path.touch()
        return path

    def query(self, namespace: int) -> tuple[str, ...] | None:
        self.queried.append(os.fstat(namespace).st_ino)
        return self.answer


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def killed_in(namespace: Path | int, pid: int | None = 100, started: str | None = BEFORE) -> record.OomKill:
    net = namespace if isinstance(namespace, int) else namespace.stat().st_ino
    process = record.Process(pid=pid, creation=record.Creation(time=started))
    return kill(time=KILLED, process=process, namespace=record.Namespace(net_ns=str(net)))


def assert_found(host: Host, namespace: Path, pid: int | None = 100) -> None:
    victim = killed_in(namespace, pid)
    enriched = host.enrich(victim)
    assert enriched.namespace == record.Namespace(net_ns=victim.namespace.net_ns, addresses=ADDRESSES)
    assert enriched.missing == ()
    assert host.queried == [namespace.stat().st_ino]


def open_files() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def assert_missing(enriched: record.OomKill) -> None:
    assert enriched.namespace.addresses is None
    assert enriched.missing == ("namespace.addresses",)


def test_the_namespace_is_found_through_the_victim(host):
    assert_found(host, host.process(100))


def test_the_namespace_is_found_through_another_thread_if_the_first_one_has_ended(host):
    namespace = host.process(105)
    net_ns = record.Namespace(net_ns=str(namespace.stat().st_ino))
    victim = kill(process=record.Process(pid=100, tid=105), namespace=net_ns)

    assert host.enrich(victim).namespace.addresses == ADDRESSES


@pytest.mark.parametrize("name", ["netns/blue", "docker/netns/1a2b"])
def test_the_namespace_is_found_through_its_name_if_all_processes_have_exited(host, name):
    assert_found(host, host.named(name))


@pytest.mark.parametrize("pid", [100, None])
def test_the_namespace_is_found_through_another_process_if_the_victim_has_exited(host, pid):
    host.process(90)
    namespace = host.process(30)

    assert_found(host, namespace, pid)


def test_a_reused_pid_does_not_lead_to_the_wrong_namespace(host):
    host.process(100)

    assert_found(host, host.named("netns/blue"))


def test_a_file_with_the_same_inode_on_another_device_is_not_the_namespace(host, monkeypatch):
    namespace = host.named("netns/blue")
    stat = os.stat

    def on_another_device(file, **more):
        found = stat(file, **more)
        return found if file != namespace else os.stat_result((*found[:2], found.st_dev + 1, *found[3:]))

    victim = killed_in(namespace)
    monkeypatch.setattr(os, "stat", on_another_device)

    assert_missing(host.enrich(victim))
    assert host.queried == []


def test_a_namespace_that_is_replaced_between_stat_and_open_is_not_queried(host, monkeypatch):
    namespace, other = host.process(100), host.spare / "other"
    other.touch()
    victim, opened = killed_in(namespace), []

    def open_other(path, flags):
        opened.append(os_open(other, flags))
        return opened[-1]

    os_open = os.open
    monkeypatch.setattr(os, "open", open_other)

    assert_missing(host.enrich(victim))
    assert host.queried == []
    assert opened
    for fd in opened:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)


def test_a_fifo_among_the_names_does_not_block(host):
    (host.run / "netns").mkdir(parents=True)
    os.mkfifo(host.run / "netns/pipe")

    assert_found(host, host.run / "netns/pipe")


def test_a_victim_in_the_hosts_own_namespace_gets_no_addresses(host):
    host.process(100, like=host.own)
    victim = killed_in(host.own)

    assert host.enrich(victim) is victim


@pytest.mark.parametrize("namespace", [None, record.Namespace(hostname="box")])
def test_a_kill_with_an_unknown_namespace_is_unchanged(host, namespace):
    victim = kill(namespace=namespace)

    assert host.enrich(victim) is victim


def test_the_addresses_are_missing_if_the_hosts_own_namespace_is_unknown(host):
    victim = killed_in(host.process(100))
    host.own.unlink()

    assert_missing(host.enrich(victim))


def test_addresses_of_a_deleted_namespace_are_added_to_the_missing_facts(host):
    victim = kill(missing=("job",), namespace=record.Namespace(net_ns="999999999"))

    assert host.enrich(victim).missing == ("job", "namespace.addresses")


def test_a_namespace_without_addresses_has_an_empty_list(host):
    host.answer = ()

    enriched = host.enrich(killed_in(host.process(100)))

    assert enriched.namespace.addresses == ()
    assert enriched.missing == ()


def test_addresses_of_a_namespace_that_cannot_be_queried_are_missing(host):
    host.answer = None

    assert_missing(host.enrich(killed_in(host.process(100))))


def test_the_number_of_files_examined_is_limited(host):
    for pid in range(200, 220):
        host.process(pid)
    near, far = host.process(199), host.process(300)
    enrich = host.enricher(search_limits=SearchLimits(places=10))

    assert enrich(killed_in(near, pid=190)).namespace.addresses == ADDRESSES
    assert_missing(enrich(killed_in(far, pid=190)))


def test_the_search_stops_at_its_deadline(host, monkeypatch):
    namespace = host.process(300)
    host.process(101)
    stat = os.stat

    def slow(file, **more):
        host.clock.seconds += 1.1 * SearchLimits().search_s
        return stat(file, **more)

    victim = killed_in(namespace)
    monkeypatch.setattr(os, "stat", slow)

    assert_missing(host.enrich(victim))


def test_an_answer_is_reused_for_a_victim_that_was_alive_at_the_time(host):
    namespace = host.process(100)
    host.enrich(killed_in(namespace))
    victim = killed_in(namespace, pid=101)
    namespace.unlink()

    host.clock.seconds += LIMITS.found_s - 0.1

    assert host.enrich(victim).namespace.addresses == ADDRESSES
    assert len(host.queried) == 1


@pytest.mark.parametrize("started", [AFTER, None])
def test_an_answer_is_not_reused_for_a_victim_that_started_later(host, started):
    namespace = host.process(100)
    host.enrich(killed_in(namespace))
    host.answer = ("10.9.9.9",)

    assert host.enrich(killed_in(namespace, started=started)).namespace.addresses == ("10.9.9.9",)


def test_an_answer_is_not_reused_for_another_namespace(host):
    host.enrich(killed_in(host.process(100)))
    host.answer = ("10.9.9.9",)

    assert host.enrich(killed_in(host.process(101), pid=101)).namespace.addresses == ("10.9.9.9",)


def test_an_answer_expires(host):
    namespace = host.process(100)
    host.enrich(killed_in(namespace))
    host.answer = ("10.9.9.9",)

    host.clock.seconds += LIMITS.found_s

    assert host.enrich(killed_in(namespace)).namespace.addresses == ("10.9.9.9",)


def test_a_missing_answer_expires_sooner(host):
    namespace = host.spare / "namespace"
    namespace.touch()
    assert_missing(host.enrich(killed_in(namespace)))
    host.process(100, like=namespace)

    host.clock.seconds += LIMITS.not_found_s - 0.1
    assert_missing(host.enrich(killed_in(namespace, started=AFTER)))
    host.clock.seconds += 0.1

    assert host.enrich(killed_in(namespace)).namespace.addresses == ADDRESSES


def test_the_number_of_answers_kept_is_limited_and_the_oldest_goes_first(host):
    namespaces = [host.process(pid) for pid in range(200, 201 + LIMITS.cached)]
    for namespace in namespaces:
        host.enrich(killed_in(namespace))
    host.queried.clear()

    host.enrich(killed_in(namespaces[-1]))
    host.enrich(killed_in(namespaces[1]))
    assert host.queried == []
    host.enrich(killed_in(namespaces[0]))

    assert host.queried == [namespaces[0].stat().st_ino]


def test_no_file_stays_open(host):
    before = open_files()
    for pid in range(100, 110):
        host.answer = None if pid % 2 else ADDRESSES
        host.enrich(killed_in(host.process(pid), pid))

    assert open_files() == before


@pytest.mark.parametrize(
    ("inside", "reported"),
    [
        ((), ()),
        (("127.0.0.1", "::1"), ()),
        (("127.0.0.1", "10.1.2.3", "::1", "fd00::3", "fe80::1"), ("10.1.2.3", "fd00::3")),
        (("10.9.0.1", "10.1.2.3"), ("10.9.0.1", "10.1.2.3")),
        (("::1", "fe80::1"), ("fe80::1",)),
        (("fe80::1", "fe80::2", "fe80::1"), ("fe80::1", "fe80::2")),
        (("169.254.1.1", "fe80::1"), ("169.254.1.1",)),
    ],
)
def test_loopback_and_redundant_link_local_addresses_are_left_out(host, inside, reported):
    host.answer = inside

    assert host.enrich(killed_in(host.process(100))).namespace.addresses == reported


class Message(dict):
    """An address as pyroute2 returns it."""

    get_attr = dict.get


INET, INET6, OTHER = 2, 10, 45


def queried(monkeypatch: pytest.MonkeyPatch, host: Host, get_addr) -> record.OomKill:
    """Enrich by pyroute2 as it is, except for what the kernel answers."""
    import pyroute2

    monkeypatch.setattr(pyroute2.IPRoute, "get_addr", get_addr, raising=False)
    stay = partial(query_addresses, enter=lambda _namespace: None)
    return host.enricher(stay)(killed_in(host.process(100)))


def test_on_a_point_to_point_link_the_local_end_is_reported(host, monkeypatch):
    messages = [
        Message(family=INET, IFA_LOCAL="10.0.0.1", IFA_ADDRESS="10.0.0.2"),
        Message(family=INET6, IFA_ADDRESS="fd00::1"),
    ]

    assert queried(monkeypatch, host, lambda _: messages).namespace.addresses == ("10.0.0.1", "fd00::1")


def test_addresses_of_families_other_than_ip_are_left_out(host, monkeypatch):
    messages = [Message(family=OTHER, IFA_ADDRESS="8"), Message(family=INET, IFA_LOCAL="10.0.0.1")]

    assert queried(monkeypatch, host, lambda _: messages).namespace.addresses == ("10.0.0.1",)


@pytest.mark.parametrize("address", [None, "", "no address"])
def test_an_answer_that_is_no_address_counts_as_missing(host, monkeypatch, address):
    assert_missing(queried(monkeypatch, host, lambda _: [Message(family=INET, IFA_ADDRESS=address)]))


@pytest.mark.parametrize("error", ["NetlinkError(1)", "NetlinkDumpInterrupted()", "OSError(105, 'x')", "KeyError('x')"])
def test_addresses_are_missing_without_a_message_if_the_kernel_refuses(host, monkeypatch, capfd, error):
    from pyroute2.netlink import exceptions

    def refuse(_):
        raise eval(error, {**vars(exceptions)})

    assert_missing(queried(monkeypatch, host, refuse))
    assert capfd.readouterr() == ("", "")


def test_addresses_are_missing_without_a_message_if_pyroute2_is_not_installed(host, monkeypatch, capfd):
    def without(name, *more):
        if name.startswith("pyroute2"):
            raise ModuleNotFoundError(name)
        return import_(name, *more)

    import_ = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", without)

    assert_missing(host.enricher(query_addresses)(killed_in(host.process(100))))
    assert capfd.readouterr() == ("", "")


def test_addresses_are_missing_without_a_message_if_the_namespace_cannot_be_entered(host, capfd):
    plain_file = host.process(100)

    assert_missing(host.enricher(query_addresses)(killed_in(plain_file)))
    assert capfd.readouterr() == ("", "")


def test_pyroute2_is_not_imported_before_it_is_needed():
    check = "import sys, ooMtrace.enrich.netns_addresses as n; n.NetnsAddresses(); print('pyroute2' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True).stdout == "False\n"


def test_without_search_no_process_is_examined_and_the_addresses_are_missing(host):
    assert_missing(host.enricher(search=False)(killed_in(host.process(100))))
    assert host.queried == []


def test_a_thread_that_proc_does_not_list_is_examined(host, monkeypatch):
    """/proc/TID exists for every thread, but only the first one of a process is listed."""
    namespace = host.process(105)
    net_ns = record.Namespace(net_ns=str(namespace.stat().st_ino))
    monkeypatch.setattr(os, "listdir", lambda _folder: [])

    assert (
        host.enrich(kill(process=record.Process(pid=100, tid=105), namespace=net_ns)).namespace.addresses == ADDRESSES
    )


def test_an_answer_that_was_reused_is_kept_longer_than_older_ones(host):
    namespaces = [host.process(pid) for pid in range(200, 201 + LIMITS.cached)]
    for namespace in (*namespaces[:-1], namespaces[0], namespaces[-1]):
        host.enrich(killed_in(namespace))
    host.queried.clear()

    host.enrich(killed_in(namespaces[0]))

    assert host.queried == []


def counted_listings(host: Host, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Return the searches through all processes, as they happen."""
    searches: list[Path] = []
    listdir = os.listdir

    def note(folder):
        if folder == host.proc:
            searches.append(folder)
        return listdir(folder)

    monkeypatch.setattr(os, "listdir", note)
    return searches


def observed(namespace: int, seconds: float) -> record.OomKill:
    """A kill so many seconds after the clock's start, in a namespace that nobody else is in."""
    time = rfc3339(1_700_000_000_000_000_000 + int(seconds * 1e9))
    return replace(killed_in(namespace, pid=None), id=f"{namespace}", observed=time)


def test_a_thousand_victims_in_namespaces_of_their_own_share_a_few_searches(host, monkeypatch):
    searches = counted_listings(host, monkeypatch)
    enrich, began = host.enrich, host.clock.seconds

    for number in range(1000):
        host.clock.seconds += 0.001
        assert_missing(enrich(observed(10_000_000 + number, host.clock.seconds - began)))

    took = host.clock.seconds - began
    assert 1 <= len(searches) <= took / SearchLimits().pause_s + 1


def test_a_search_is_followed_by_a_pause_many_times_as_long(host, monkeypatch):
    addresses = host.addresses()
    process = host.process(300)
    stat = os.stat

    def slow(file, **more):
        if file == process:
            host.clock.seconds += SearchLimits().search_s
        return stat(file, **more)

    monkeypatch.setattr(os, "stat", slow)
    addresses.look_up(observed(10_000_000, 0))
    later = addresses.look_up(observed(10_000_001, 10))

    assert isinstance(later, Later)
    pause = SearchLimits().pause * SearchLimits().search_s
    assert later.at_ns == pytest.approx((host.clock.seconds + pause) * 1e9)


def test_a_namespace_with_a_process_that_was_seen_before_takes_no_search(host, monkeypatch):
    namespaces = [host.process(pid) for pid in range(200, 210)]
    searches = counted_listings(host, monkeypatch)

    for number, namespace in enumerate(namespaces):
        victim = replace(killed_in(namespace, pid=None), id=str(number))
        assert host.enrich(victim).namespace.addresses == ADDRESSES

    assert len(searches) == 1


@pytest.mark.parametrize("version", [1, 2])
def test_processes_of_the_victims_cgroup_are_examined_before_all_others(host, monkeypatch, version):
    namespace = host.process(300)
    mount = host.spare / "cgroup"
    (mount / "a/b").mkdir(parents=True)
    (mount / "a/b/cgroup.procs").write_text("299\n300\n")
    kind = "cgroup x" if version == 1 else "cgroup2 x"
    (host.proc / "self/mounts").write_text(f"cgroup {mount} {kind.split()[0]} rw,memory 0 0\n")
    searches = counted_listings(host, monkeypatch)
    victim = replace(killed_in(namespace), cgroup=record.Cgroup(path="/a/b", version=version))

    assert host.enrich(victim).namespace.addresses == ADDRESSES
    assert searches == []


def test_the_parents_namespace_is_examined_before_all_others(host, monkeypatch):
    namespace = host.process(300)
    searches = counted_listings(host, monkeypatch)
    victim = killed_in(namespace)
    victim = replace(victim, process=replace(victim.process, parent=record.Parent(pid=300)))

    assert host.enrich(victim).namespace.addresses == ADDRESSES
    assert searches == []


def test_a_victim_that_exits_before_its_turn_still_leads_to_its_namespace(host):
    namespace, before = host.process(100), open_files()
    addresses, victim = host.addresses(), killed_in(namespace)
    addresses.prepare(victim)
    namespace.unlink()

    assert addresses.add_known(victim) is None
    assert addresses.look_up(victim).namespace.addresses == ADDRESSES
    assert open_files() == before


@pytest.mark.parametrize("release", ["skip", "add_known"])
def test_a_prepared_namespace_is_closed_when_it_is_not_needed(host, release):
    namespace, before = host.process(100), open_files()
    addresses, victim = host.addresses(), killed_in(namespace)
    addresses.prepare(victim)
    assert open_files() != before
    if release == "add_known":
        addresses.look_up(replace(victim, id="other"))

    assert getattr(addresses, release)(victim) is not None
    assert open_files() == before


def test_the_number_of_prepared_namespaces_is_limited_and_the_oldest_goes_first(host):
    namespace, before = host.process(100), len(open_files())
    addresses = host.addresses(limits=Limits(prepared=3))
    for number in range(10):
        addresses.prepare(replace(killed_in(namespace), id=str(number)))
    assert len(open_files()) == before + 3
    for number in range(10):
        addresses.skip(replace(killed_in(namespace), id=str(number)))

    assert len(open_files()) == before
