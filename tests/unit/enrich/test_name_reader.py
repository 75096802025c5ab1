# SPDX-License-Identifier: Apache-2.0
"""The thread that reads names: what is read first, how long a kill waits, and files that hang."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from ooMtrace.enrich.container_names import Names
from ooMtrace.enrich.name_cache import NameCache
from ooMtrace.enrich.name_reader import MAX_QUEUED, NameReader

LONG_S = 30


class FakeFiles:
    """Files of runtimes; a read of an id in `blocked` lasts until `go`."""

    def __init__(self) -> None:
        self.existing: list[str] = []
        self.missing: set[str] = set()
        self.blocked: set[str] = set()
        self.entered = threading.Event()
        self.go = threading.Event()
        self.read: list[str] = []
        self.forgotten = 0
        self.opened = 0

    def open(self) -> FakeFiles:
        self.opened += 1
        return self

    def read_names(self, id_: str) -> Names:
        self.read.append(id_)
        if id_ in self.blocked:
            self.entered.set()
            assert self.go.wait(LONG_S)
        return Names() if id_ in self.missing else Names(container=f"name of {id_}")

    def container_ids(self) -> Iterator[str]:
        yield from self.existing

    def forget_lists(self) -> None:
        self.forgotten += 1


@pytest.fixture
def files() -> Iterator[FakeFiles]:
    fake = FakeFiles()
    yield fake
    fake.go.set()


def reader(files: FakeFiles, timeout_s: float = LONG_S) -> NameReader:
    return NameReader(files.open, NameCache(), timeout_s)  # type: ignore[arg-type]


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + LONG_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "names"]


def test_names_that_were_read_ahead_are_found_without_reading_again(files):
    names = reader(files)
    names.read("a")
    wait_until(lambda: names.has("a"))

    assert names.find("a") == Names(container="name of a")
    assert files.read == ["a"]


def test_names_that_were_not_read_ahead_are_read_at_the_kill(files):
    assert reader(files).find("a") == Names(container="name of a")


def test_without_names_there_is_nothing_to_find_and_the_next_kill_looks_again(files):
    files.missing = {"a"}
    names = reader(files)

    assert names.find("a") is None
    files.missing.clear()
    assert names.find("a") == Names(container="name of a")


def test_while_nothing_is_read_there_is_no_thread_and_the_files_are_opened_once(files):
    names = reader(files)
    for name in "abc":
        names.find(name)
        wait_until(lambda: not threads())

    assert files.opened == 1
    assert files.forgotten == 3


def test_existing_containers_are_known_after_the_start(files):
    files.existing = ["a", "b"]
    names = reader(files)
    names.read_existing()

    assert [names.has(name) for name in "abc"] == [True, True, False]


def test_a_kill_waits_for_names_that_are_being_read_right_now(files):
    files.blocked = {"a"}
    names = reader(files)
    names.read("a")
    assert files.entered.wait(LONG_S)
    threading.Timer(0.05, files.go.set).start()

    assert names.find("a") == Names(container="name of a")
    wait_until(lambda: not threads())
    assert files.read == ["a"]


def test_names_for_a_kill_are_read_before_those_that_wait(files):
    files.blocked = {"a"}
    names = reader(files)
    for name in "abcd":
        names.read(name)
    assert files.entered.wait(LONG_S)
    threading.Timer(0.05, files.go.set).start()

    assert names.find("d") == Names(container="name of d")
    wait_until(lambda: not threads())
    assert files.read[:2] == ["a", "d"]


def test_a_file_that_hangs_delays_one_kill_by_the_timeout_and_further_ones_not_at_all(files):
    files.blocked = {"a"}
    names = reader(files, timeout_s=0.2)
    begin = time.monotonic()
    assert [names.find(name) for name in ("a", *["b"] * 50)] == [None] * 51
    assert time.monotonic() - begin < 0.2 * 10

    files.go.set()
    wait_until(lambda: not threads())
    assert names.find("b") == Names(container="name of b")


def test_names_that_are_known_are_found_while_a_file_hangs(files):
    files.blocked = {"b"}
    names = reader(files, timeout_s=0.01)
    names.find("a")
    names.find("b")

    assert names.find("a") == Names(container="name of a")
    assert len(threads()) == 1


def test_of_a_flood_of_containers_the_newest_are_read(files):
    files.blocked = {"first"}
    names = reader(files)
    names.read("first")
    assert files.entered.wait(LONG_S)
    for number in range(100_000):
        names.read(str(number))
    files.go.set()
    wait_until(lambda: not threads())

    assert files.read[1:] == [str(number) for number in range(100_000 - MAX_QUEUED, 100_000)]


def test_a_container_that_is_gone_before_it_was_read_is_not_read(files):
    files.blocked = {"a"}
    names = reader(files)
    for name in "abc":
        names.read(name)
    assert files.entered.wait(LONG_S)
    names.mark_removed("b")
    files.go.set()
    wait_until(lambda: not threads())

    assert files.read == ["a", "c"]


def test_at_the_limit_on_threads_names_are_unknown(files, monkeypatch):
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    names = reader(files)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        names.read_existing()
        names.read("b")
        assert names.find("a") is None

    assert names.find("a") == Names(container="name of a")
    wait_until(lambda: names.has("b"))
