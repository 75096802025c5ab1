# SPDX-License-Identifier: Apache-2.0
"""Which namespace is asked, when, and what of the answer is told: on trees of files that stand in for namespaces."""

from __future__ import annotations

import builtins
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from support.probe_events import kill

from ooMtrace import record
from ooMtrace.enrich import netns_addresses as module
from ooMtrace.enrich.netns_addresses import add_netns_addresses

ADDRESSES = ("10.1.2.3", "fd00::3")
BEFORE, KILLED, AFTER = "2023-11-14T22:00:00.000000Z", "2023-11-14T22:13:19.000001Z", "2023-11-14T22:13:20.000000Z"


class Host:
    """Trees that stand in for /proc and /run; files are namespaces, and one inside has ADDRESSES."""

    def __init__(self, folder: Path) -> None:
        self.proc, self.run, self.spare = folder / "proc", folder / "run", folder / "spare"
        self.spare.mkdir()
        self.own = self._make(self.proc / "self/ns/net")
        self.time = 1000.0
        self.asked: list[int] = []
        self.answer: tuple[str, ...] | None = ADDRESSES
        self.enrich = add_netns_addresses(self.proc, self.run, lambda: self.time)

    def process(self, pid: int, like: Path | None = None) -> Path:
        return self._make(self.proc / str(pid) / "ns/net", like)

    def named(self, name: str, like: Path | None = None) -> Path:
        return self._make(self.run / name, like)

    def _make(self, path: Path, like: Path | None = None) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.hardlink_to(like) if like else path.touch()
        return path

    def ask(self, namespace: int) -> tuple[str, ...] | None:
        self.asked.append(os.fstat(namespace).st_ino)
        return self.answer


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    host = Host(tmp_path)
    monkeypatch.setattr(module, "_addresses", host.ask)
    return host


def killed_in(namespace: Path | int, pid: int | None = 100, born: str | None = BEFORE) -> record.OomKill:
    net = namespace if isinstance(namespace, int) else namespace.stat().st_ino
    process = record.Process(pid=pid, creation=record.Creation(time=born))
    return kill(time=KILLED, process=process, namespace=record.Namespace(net_ns=str(net)))


def assert_found(host: Host, namespace: Path, pid: int | None = 100) -> None:
    of = killed_in(namespace, pid)
    enriched = host.enrich(of)
    assert enriched.namespace == record.Namespace(net_ns=of.namespace.net_ns, addresses=ADDRESSES)
    assert enriched.missing == ()
    assert host.asked == [namespace.stat().st_ino]


def open_files() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def assert_missing(enriched: record.OomKill) -> None:
    assert enriched.namespace.addresses is None
    assert enriched.missing == ("namespace.addresses",)


def test_the_victim_leads_to_its_namespace(host):
    assert_found(host, host.process(100))


def test_a_thread_leads_there_when_the_first_one_has_ended(host):
    namespace = host.process(105)
    of = kill(process=record.Process(pid=100, tid=105), namespace=record.Namespace(net_ns=str(namespace.stat().st_ino)))

    assert host.enrich(of).namespace.addresses == ADDRESSES


@pytest.mark.parametrize("name", ["netns/blue", "docker/netns/1a2b"])
def test_a_name_leads_there_when_all_processes_have_gone(host, name):
    assert_found(host, host.named(name))


@pytest.mark.parametrize("pid", [100, None])
def test_another_process_leads_there_when_the_victim_has_gone(host, pid):
    host.process(90)
    namespace = host.process(30)

    assert_found(host, namespace, pid)


def test_a_process_id_that_was_given_to_somebody_else_does_not_mislead(host):
    host.process(100)

    assert_found(host, host.named("netns/blue"))


def test_a_file_of_the_same_number_on_another_device_is_no_namespace(host, monkeypatch):
    namespace = host.named("netns/blue")
    identity = module._identity
    monkeypatch.setattr(
        module, "_identity", lambda file: (0, identity(file)[1]) if file == namespace else identity(file)
    )

    assert_missing(host.enrich(killed_in(namespace)))
    assert host.asked == []


def test_a_namespace_that_changes_between_look_and_open_is_not_asked(host, monkeypatch):
    namespace, other = host.process(100), host.spare / "other"
    other.touch()
    of, opened = killed_in(namespace), []

    def open_(path, flags):
        opened.append(os_open(other, flags))
        return opened[-1]

    os_open = os.open
    monkeypatch.setattr(module.os, "open", open_)

    assert_missing(host.enrich(of))
    assert host.asked == []
    for fd in opened:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)


def test_a_pipe_among_the_names_holds_nothing_up(host):
    (host.run / "netns").mkdir(parents=True)
    os.mkfifo(host.run / "netns/pipe")

    assert_found(host, host.run / "netns/pipe")


def test_our_own_namespace_says_nothing_about_the_victim(host):
    host.process(100, like=host.own)
    of = killed_in(host.own)

    assert host.enrich(of) is of


@pytest.mark.parametrize("namespace", [None, record.Namespace(hostname="box")])
def test_a_kill_whose_namespace_is_not_known_stays_as_it_was(host, namespace):
    of = kill(namespace=namespace)

    assert host.enrich(of) is of


def test_without_our_own_namespace_nothing_can_be_told(host):
    of = killed_in(host.process(100))
    host.own.unlink()

    assert_missing(host.enrich(of))


def test_a_namespace_that_has_gone_is_named_as_missing_after_what_was_missing_before(host):
    of = kill(missing=("job",), namespace=record.Namespace(net_ns="999999999"))

    assert host.enrich(of).missing == ("job", "namespace.addresses")


def test_no_addresses_is_an_answer(host):
    host.answer = ()

    enriched = host.enrich(killed_in(host.process(100)))

    assert enriched.namespace.addresses == ()
    assert enriched.missing == ()


def test_a_namespace_that_can_not_be_asked_is_missing(host):
    host.answer = None

    assert_missing(host.enrich(killed_in(host.process(100))))


def test_only_some_thousand_places_are_looked_at(host, monkeypatch):
    monkeypatch.setattr(module, "MAX_PLACES", 10)
    for pid in range(200, 220):
        host.process(pid)
    near, far = host.process(199), host.process(300)

    assert host.enrich(killed_in(near, pid=190)).namespace.addresses == ADDRESSES
    assert_missing(host.enrich(killed_in(far, pid=190)))


def test_the_search_ends_in_time(host):
    namespace = host.process(300)
    host.process(101)
    ticks = iter(range(1000))
    slow = add_netns_addresses(host.proc, host.run, lambda: next(ticks))

    assert_missing(slow(killed_in(namespace)))


def test_who_was_alive_at_the_answer_shares_it_and_nobody_asks_again(host):
    namespace = host.process(100)
    host.enrich(killed_in(namespace))
    of = killed_in(namespace, pid=101)
    namespace.unlink()

    host.time += module.KNOWN_S - 0.1

    assert host.enrich(of).namespace.addresses == ADDRESSES
    assert len(host.asked) == 1


@pytest.mark.parametrize("born", [AFTER, None])
def test_who_was_born_later_may_live_in_another_namespace_of_the_same_number(host, born):
    namespace = host.process(100)
    host.enrich(killed_in(namespace))
    host.answer = ("10.9.9.9",)

    assert host.enrich(killed_in(namespace, born=born)).namespace.addresses == ("10.9.9.9",)


def test_addresses_are_asked_again_after_a_while(host):
    namespace = host.process(100)
    host.enrich(killed_in(namespace))
    host.answer = ("10.9.9.9",)

    host.time += module.KNOWN_S

    assert host.enrich(killed_in(namespace)).namespace.addresses == ("10.9.9.9",)


def test_what_was_not_found_is_looked_for_again_sooner(host):
    namespace = host.spare / "namespace"
    namespace.touch()
    assert_missing(host.enrich(killed_in(namespace)))
    host.process(100, like=namespace)

    host.time += module.UNKNOWN_S - 0.1
    assert_missing(host.enrich(killed_in(namespace)))
    host.time += 0.1

    assert host.enrich(killed_in(namespace)).namespace.addresses == ADDRESSES


def test_no_more_than_some_answers_are_kept(host):
    namespaces = [host.process(pid) for pid in range(200, 201 + module.MAX_CACHED)]
    for namespace in namespaces:
        host.enrich(killed_in(namespace))
    host.asked.clear()

    host.enrich(killed_in(namespaces[-1]))
    host.enrich(killed_in(namespaces[1]))
    assert host.asked == []
    host.enrich(killed_in(namespaces[0]))

    assert host.asked == [namespaces[0].stat().st_ino]


def test_a_question_that_hangs_holds_no_line_up_and_hangs_alone(host, monkeypatch):
    released, asked = threading.Event(), []

    def hang(namespace):
        asked.append(namespace)
        released.wait(60)
        return ADDRESSES

    monkeypatch.setattr(module, "_addresses", hang)
    monkeypatch.setattr(module, "ANSWER_S", 0.05)
    began = time.monotonic()

    for pid in range(100, 110):
        assert_missing(host.enrich(killed_in(host.process(pid), pid)))

    assert time.monotonic() - began < 1
    assert len(asked) == 1
    (thread,) = [one for one in threading.enumerate() if one.name == "addresses"]
    assert thread.daemon
    released.set()
    thread.join(10)
    assert host.enrich(killed_in(host.process(110), 110)).namespace.addresses == ADDRESSES


def test_no_file_stays_open(host):
    before = open_files()
    for pid in range(100, 110):
        host.answer = None if pid % 2 else ADDRESSES
        host.enrich(killed_in(host.process(pid), pid))

    assert open_files() == before


def test_where_no_thread_can_be_started_the_addresses_are_missing(host, monkeypatch):
    def refuse(_):
        raise RuntimeError("cannot start new thread")

    namespace, before = host.process(100), open_files()
    monkeypatch.setattr(threading.Thread, "start", refuse)

    assert_missing(host.enrich(killed_in(namespace)))
    assert open_files() == before


@pytest.mark.parametrize(
    ("inside", "told"),
    [
        ([], ()),
        (["127.0.0.1", "::1"], ()),
        (["127.0.0.1", "10.1.2.3", "::1", "fd00::3", "fe80::1"], ("10.1.2.3", "fd00::3")),
        (["10.9.0.1", "10.1.2.3"], ("10.9.0.1", "10.1.2.3")),
        (["::1", "fe80::1"], ("fe80::1",)),
        (["fe80::1", "fe80::2", "fe80::1"], ("fe80::1", "fe80::2")),
        (["169.254.1.1", "fe80::1"], ("169.254.1.1",)),
    ],
)
def test_what_is_the_same_everywhere_is_left_out(inside, told):
    assert module._telling(inside) == told


def test_of_a_point_to_point_link_this_end_is_told():
    class Message(dict):
        get_attr = dict.get

    assert module._local(Message(IFA_LOCAL="10.0.0.1", IFA_ADDRESS="10.0.0.2")) == "10.0.0.1"
    assert module._local(Message(IFA_ADDRESS="fd00::1")) == "fd00::1"


def test_without_pyroute2_the_addresses_are_missing(tmp_path, monkeypatch, capfd):
    def without(name, *more):
        if name.startswith("pyroute2"):
            raise ModuleNotFoundError(name)
        return import_(name, *more)

    import_ = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", without)
    host = Host(tmp_path)

    assert_missing(host.enrich(killed_in(host.process(100))))
    assert capfd.readouterr() == ("", "")


def test_what_can_not_be_entered_is_missing_and_nothing_is_said(tmp_path, capfd):
    host = Host(tmp_path)  # its namespaces are plain files

    assert_missing(host.enrich(killed_in(host.process(100))))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("error", ["NetlinkError(1)", "NetlinkDumpInterrupted()", "OSError(105, 'x')", "KeyError('x')"])
def test_a_refusal_of_the_kernel_is_missing_and_nothing_is_said(tmp_path, monkeypatch, capfd, error):
    import pyroute2
    from pyroute2.netlink import exceptions

    def refuse(_):
        raise eval(error, {**vars(exceptions)})

    monkeypatch.setattr(module, "_enter", lambda _: None)
    monkeypatch.setattr(pyroute2.IPRoute, "get_addr", refuse, raising=False)
    host = Host(tmp_path)

    assert_missing(host.enrich(killed_in(host.process(100))))
    assert capfd.readouterr() == ("", "")


def test_pyroute2_is_not_loaded_before_it_is_needed():
    look = "import sys, ooMtrace.enrich.netns_addresses as n; n.add_netns_addresses(); print('pyroute2' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True).stdout == "False\n"


def test_where_processes_have_other_numbers_none_is_looked_at_and_the_addresses_are_missing(host):
    namespace = host.process(100)

    told = add_netns_addresses(host.proc, host.run, lambda: host.time, search=False)(killed_in(namespace))

    assert host.asked == []
    assert told.namespace.addresses is None
    assert told.missing == ("namespace.addresses",)
