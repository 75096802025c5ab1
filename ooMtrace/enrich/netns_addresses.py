# SPDX-License-Identifier: Apache-2.0
"""The addresses of the victim's network namespace, by which others know it. The only module that imports pyroute2."""

from __future__ import annotations

import ctypes
import ipaddress
import os
import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from ooMtrace.enrich import Enricher
from ooMtrace.enrich.netns_search import Identity, identity, open_namespace, places
from ooMtrace.enrich.timebox import TimeBoxedWorker
from ooMtrace.kernel.clock import Clock
from ooMtrace.record import OomKill

CLONE_NEWNET = 0x40000000  # include/uapi/linux/sched.h
FAMILIES = (socket.AF_INET, socket.AF_INET6)

Query = Callable[[int], "tuple[str, ...] | None"]
"""Returns all addresses in the network namespace of a file descriptor; None: it cannot be entered or queried.

It runs in a thread of its own, which may enter the namespace and need not return.
"""


def enter_netns(namespace: int) -> None:
    """Move the calling thread into a network namespace; raises OSError."""
    # Not pyroute2.netns.setns(): it starts other programs to find the C library.
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def query_addresses(namespace: int, enter: Callable[[int], None] = enter_netns) -> tuple[str, ...] | None:
    """Enter a network namespace for good, and return all addresses in it; None if that fails."""
    try:
        # Imported late: it takes 22 MB, and on many hosts no victim has a network namespace of its own.
        from pyroute2 import IPRoute, NetlinkDecodeError, NetlinkError
    except (ImportError, AttributeError, SyntaxError, OSError):  # not installed, or not for this Python
        return None
    refused = (OSError, NetlinkError, NetlinkDecodeError)
    unexpected = (RuntimeError, AttributeError, LookupError, TypeError, ValueError)  # a pyroute2 with another interface
    try:
        enter(namespace)
        with IPRoute() as route:
            # Other families have addresses, too, that are not IP addresses.
            return tuple(_local(message) for message in route.get_addr() if message["family"] in FAMILIES)
    except (*refused, *unexpected):
        return None


def _local(message: Any) -> str:  # noqa: ANN401 (pyroute2 has no types)
    """Return this end's address: on a point-to-point link IFA_ADDRESS is the other end."""
    return str(ipaddress.ip_address(message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")))


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much a line may cost: a host that is out of memory is slow, and the next kill must not wait.

    Attributes:
        places: Files examined to find a namespace without a name; a host may have tens of thousands of processes.
        search_s: Seconds for that search.
        query_s: Seconds for the kernel's answer: immediate, unless a task holds the lock of all networks (rtnl).
        found_s: Seconds for which an answer is reused: addresses change.
        not_found_s: The same for an answer that there is none.
        cached: Answers kept.
    """

    places: int = 4096
    search_s: float = 0.1
    query_s: float = 0.5
    found_s: float = 10.0
    not_found_s: float = 1.0
    cached: int = 64


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class _Answer:
    """What was found for a kill: `killed` is that kill's time, `until_ns` ends its validity."""

    addresses: tuple[str, ...] | None
    killed: str
    until_ns: int

    def is_valid_for(self, kill: OomKill, now_ns: int) -> bool:
        """Return whether it applies to this kill, too.

        The number of a namespace is reused soon: a process that started after the earlier kill may be in a new
        namespace with the old number, such as a container that is restarted whenever it is killed.
        """
        if now_ns >= self.until_ns:
            return False
        started = kill.process.creation.time if kill.process.creation else None
        return self.addresses is None or (started is not None and started <= self.killed)


class NetnsAddresses:
    """Adds the IP addresses in the victim's network namespace.

    The host's own namespace is left out: its addresses say nothing about the victim.

    Args:
        search: Whether processes and names are searched for the namespace; without, the addresses are missing.
        proc: Root of the processes.
        run: Root of the names of namespaces.
        query: Queries a namespace.
        limits: How much a line may cost.
        clock: What limits are measured with.
    """

    def __init__(
        self,
        *,
        search: bool = True,
        proc: Path = Path("/proc"),
        run: Path = Path("/run"),
        query: Query = query_addresses,
        limits: Limits = DEFAULT_LIMITS,
        clock: Clock = time,
    ) -> None:
        self._search = search
        self._proc, self._run = proc, run
        self._query = query
        self._limits = limits
        self._clock = clock
        self._worker = TimeBoxedWorker("addresses", limits.query_s)
        self._answers: dict[str, _Answer] = {}

    def enrich(self, kill: OomKill) -> OomKill:
        """Return the kill with addresses, or with `namespace.addresses` in `missing`."""
        namespace = kill.namespace
        if namespace is None or namespace.net_ns is None:
            return kill
        own = identity(self._proc / "self/ns/net")
        if own is not None and namespace.net_ns == str(own.inode):
            return kill
        found = self._cached(kill, Identity(own.device, int(namespace.net_ns))) if own and self._search else None
        if found is None:
            return replace(kill, missing=(*kill.missing, "namespace.addresses"))
        return replace(kill, namespace=replace(namespace, addresses=found))

    def _cached(self, kill: OomKill, wanted: Identity) -> tuple[str, ...] | None:
        """Return the addresses from an answer to an earlier kill, or look them up; the oldest answer goes first."""
        key = str(wanted.inode)
        answer = self._answers.pop(key, None)
        if answer is None or not answer.is_valid_for(kill, self._clock.monotonic_ns()):
            answer = self._look_up(kill, wanted)
        self._answers[key] = answer
        if len(self._answers) > self._limits.cached:
            del self._answers[next(iter(self._answers))]
        return answer.addresses

    def _look_up(self, kill: OomKill, wanted: Identity) -> _Answer:
        namespace = None if self._worker.is_busy() else self._find(kill, wanted)
        found = None if namespace is None else self._ask(namespace)
        addresses = None if found is None else distinctive(found)
        valid_s = self._limits.not_found_s if addresses is None else self._limits.found_s
        return _Answer(addresses, kill.time or "", self._in(valid_s))

    def _find(self, kill: OomKill, wanted: Identity) -> int | None:
        deadline = self._in(self._limits.search_s)
        candidates = islice(places(kill.process, self._proc, self._run), self._limits.places)
        return open_namespace(candidates, wanted, lambda: self._clock.monotonic_ns() > deadline)

    def _ask(self, namespace: int) -> tuple[str, ...] | None:
        """Query in a thread, for only that one enters; None if there is no answer in time. Closes the descriptor."""
        answers: list[tuple[str, ...] | None] = []

        def task() -> None:
            try:
                answers.append(self._query(namespace))
            finally:
                os.close(namespace)

        if not self._worker.run(task):
            os.close(namespace)
        return answers[0] if answers else None

    def _in(self, seconds: float) -> int:
        return self._clock.monotonic_ns() + int(seconds * 1e9)


def add_netns_addresses(*, search: bool = True, proc: Path = Path("/proc"), run: Path = Path("/run")) -> Enricher:
    """Return an enricher that adds the addresses of the victim's network namespace; see NetnsAddresses."""
    return NetnsAddresses(search=search, proc=proc, run=run).enrich


def distinctive(texts: Iterable[str]) -> tuple[str, ...]:
    """Leave out addresses that every namespace has: loopback, and link-local unless there is nothing else."""
    addresses = [ipaddress.ip_address(text) for text in dict.fromkeys(texts)]
    outer = [address for address in addresses if not address.is_loopback]
    routed = [address for address in outer if isinstance(address, ipaddress.IPv4Address) or not address.is_link_local]
    return tuple(str(address) for address in routed or outer)
