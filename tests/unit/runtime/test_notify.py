# SPDX-License-Identifier: Apache-2.0
"""What the service manager is sent, over real sockets: when, how often, and never at the cost of the work."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.clock import FakeClock

from ooMtrace.runtime import notify
from ooMtrace.runtime.notify import Notifier

S = 1_000_000_000


class Manager:
    """A service manager's socket."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        self.socket.setblocking(False)
        self.environment = {"NOTIFY_SOCKET": address, "TERM": "x"}
        self.status = "level full; 0 kills reported, 0 lost"
        self.clock = FakeClock(1000 * S)

    def notifier(self, **more: str) -> Notifier:
        return Notifier(self.environment | more, lambda: self.status, clock=self.clock)

    def received(self) -> list[str]:
        found = []
        while True:
            try:
                found.append(self.socket.recv(4096).decode())
            except BlockingIOError:
                return found


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    made = Manager(f"{tmp_path}/notify" if request.param == "path" else f"@oomtrace-test-{os.getpid()}")
    yield made
    made.socket.close()


def test_each_state_is_one_message(manager):
    notifier = manager.notifier()
    notifier.ready()
    notifier.reloading()
    notifier.stopping()
    notifier.close()

    assert manager.received() == [
        "READY=1\nSTATUS=level full; 0 kills reported, 0 lost",
        "RELOADING=1\nMONOTONIC_USEC=1000000000",
        "STOPPING=1",
    ]


def test_a_status_is_sent_when_it_has_changed_and_at_most_once_a_second(manager):
    notifier = manager.notifier()
    notifier.ready()
    manager.received()
    notifier.pulse()
    assert (manager.received(), notifier.timeout_ms()) == ([], None)
    for count in (1, 2, 3):
        manager.status = f"{count} kills"
        notifier.pulse()
        manager.clock.monotonic += S // 10
    assert manager.received() == ["STATUS=1 kills"]
    assert notifier.timeout_ms() == 700

    manager.clock.monotonic += S
    assert notifier.timeout_ms() == 0
    notifier.pulse()

    assert manager.received() == ["STATUS=3 kills"]
    assert notifier.timeout_ms() is None


@pytest.mark.parametrize("pid", ["", str(os.getpid())], ids=["", "its own"])
def test_the_watchdog_is_kept_alive_twice_in_its_period(pid, manager):
    notifier = manager.notifier(WATCHDOG_USEC="60000000", WATCHDOG_PID=pid)
    notifier.ready()
    manager.received()
    for _ in range(120):
        notifier.pulse()
        manager.clock.monotonic += S

    assert manager.received() == ["WATCHDOG=1"] * 4
    assert notifier.timeout_ms() == 0
    notifier.pulse()
    assert notifier.timeout_ms() == 30_000


@pytest.mark.parametrize(
    "more", [{}, {"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "x"}, {"WATCHDOG_USEC": "²"}]
)
def test_without_a_watchdog_of_its_own_it_never_wakes_up(more, manager):
    notifier = manager.notifier(**more)
    notifier.ready()
    manager.clock.monotonic += 1000 * S
    notifier.pulse()

    assert notifier.timeout_ms() is None
    assert len(manager.received()) == 1


@pytest.mark.parametrize("address", ["", "relative", "vsock:2:1234", "/nowhere/at/all"])
def test_without_a_service_manager_nothing_happens(address):
    notifier = Notifier({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": ""}, lambda: "busy")
    for send in (notifier.ready, notifier.reloading, notifier.pulse, notifier.stopping, notifier.close):
        send()


def test_a_queue_that_is_full_stops_nothing(manager, monkeypatch):
    monkeypatch.setattr(notify, "TIMEOUT_S", 0.01)
    notifier = manager.notifier(WATCHDOG_USEC="2")
    for _ in range(2000):
        manager.clock.monotonic += S
        notifier.pulse()
    notifier.ready()

    assert 0 < len(manager.received()) < 2000


def test_the_variables_are_not_passed_on(manager):
    environment = {**manager.environment, "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1"}

    Notifier(environment, str).close()

    assert environment == {"TERM": "x"}
