# SPDX-License-Identifier: Apache-2.0
"""The addresses of the victim's network namespace, by which others know it. The only module that imports pyroute2."""

from __future__ import annotations

import ctypes
import ipaddress
import os
import socket
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any

from ooMtrace.enrich import Later
from ooMtrace.enrich.netns_search import Identity, NetnsFinder, SearchLimits, identity, open_namespace, places_of_victim
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
    """How much is kept, and for how long.

    Attributes:
        found_s: Seconds for which an answer is reused: addresses change.
        not_found_s: The same for an answer that there is none.
        cached: Answers kept.
        prepared: Namespaces of victims that are open until their turn comes.
    """

    found_s: float = 10.0
    not_found_s: float = 1.0
    cached: int = 1024
    prepared: int = 32


DEFAULT_LIMITS = Limits()
DEFAULT_SEARCH_LIMITS = SearchLimits()


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
    """Adds the IP addresses in the victim's network namespace: a SlowEnricher.

    The host's own namespace is left out: its addresses say nothing about the victim.

    Args:
        search: Whether processes and names are searched for the namespace; without, the addresses are missing.
        proc: Root of the processes.
        run: Root of the names of namespaces.
        query: Queries a namespace.
        limits: How much is kept.
        search_limits: How much a search may cost.
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
        search_limits: SearchLimits = DEFAULT_SEARCH_LIMITS,
        clock: Clock = time,
    ) -> None:
        self._search = search
        self._proc = proc
        self._query = query
        self._limits = limits
        self._clock = clock
        self._finder = NetnsFinder(proc, run, search_limits, clock)
        self._answers: OrderedDict[str, _Answer] = OrderedDict()
        self._prepared: OrderedDict[str, int] = OrderedDict()
        self._lock = Lock()  # around the two, never around a system call that may hang

    def prepare(self, kill: OomKill) -> None:
        """Open the victim's namespace while the victim still has one."""
        wanted = self._wanted(kill)
        if wanted is None or self._known(kill) is not None:
            return
        namespace = open_namespace(places_of_victim(kill, self._proc), wanted)
        with self._lock:
            oldest = None
            if namespace is not None:
                self._prepared[kill.id] = namespace
            if len(self._prepared) > self._limits.prepared:
                _, oldest = self._prepared.popitem(last=False)
        _close(oldest)

    def add_known(self, kill: OomKill) -> OomKill | None:
        """Return the kill with addresses from an earlier answer, or unchanged if there is nothing to add."""
        if kill.namespace is None or kill.namespace.net_ns is None or self._is_own(kill.namespace.net_ns):
            return kill
        if self._wanted(kill) is None:
            return self.skip(kill)
        answer = self._known(kill)
        if answer is None:
            return None
        _close(self._take_prepared(kill))
        return _with_addresses(kill, answer.addresses)

    def look_up(self, kill: OomKill) -> OomKill | Later:
        """Find the namespace, enter it and ask for its addresses. It remains in it: run it in a thread of its own."""
        wanted = self._wanted(kill)
        if wanted is None:
            return self.skip(kill)
        namespace = self._take_prepared(kill)
        found = self._finder.find(kill, wanted) if namespace is None else namespace
        if isinstance(found, Later):
            return found
        addresses = None if found is None else self._ask(found)
        valid_s = self._limits.not_found_s if addresses is None else self._limits.found_s
        answer = _Answer(addresses, kill.time or "", self._clock.monotonic_ns() + int(valid_s * 1e9))
        with self._lock:
            self._answers[str(wanted.inode)] = answer
            self._answers.move_to_end(str(wanted.inode))
            if len(self._answers) > self._limits.cached:
                self._answers.popitem(last=False)
        return _with_addresses(kill, addresses)

    def skip(self, kill: OomKill) -> OomKill:
        """Return the kill with `namespace.addresses` in `missing`, if it is in another namespace than the host's."""
        _close(self._take_prepared(kill))
        namespace = kill.namespace
        if namespace is None or namespace.net_ns is None or self._is_own(namespace.net_ns):
            return kill
        return _with_addresses(kill, None)

    def _ask(self, namespace: int) -> tuple[str, ...] | None:
        try:
            found = self._query(namespace)
        finally:
            os.close(namespace)
        return None if found is None else distinctive(found)

    def _is_own(self, net_ns: str) -> bool:
        own = identity(self._proc / "self/ns/net")
        return own is not None and net_ns == str(own.inode)

    def _wanted(self, kill: OomKill) -> Identity | None:
        """Return which namespace to look for; None: none, or it cannot be found."""
        own = identity(self._proc / "self/ns/net")
        if not self._search or own is None or kill.namespace is None or kill.namespace.net_ns is None:
            return None
        wanted = Identity(own.device, int(kill.namespace.net_ns))
        return None if wanted == own else wanted

    def _known(self, kill: OomKill) -> _Answer | None:
        """Return an answer to an earlier kill that holds for this one, too; it is kept longer than older ones."""
        key = kill.namespace.net_ns if kill.namespace and kill.namespace.net_ns else ""
        with self._lock:
            answer = self._answers.get(key)
            if answer is None or not answer.is_valid_for(kill, self._clock.monotonic_ns()):
                return None
            self._answers.move_to_end(key)
        return answer

    def _take_prepared(self, kill: OomKill) -> int | None:
        with self._lock:
            return self._prepared.pop(kill.id, None)


def _with_addresses(kill: OomKill, addresses: tuple[str, ...] | None) -> OomKill:
    if addresses is None or kill.namespace is None:
        return replace(kill, missing=(*kill.missing, "namespace.addresses"))
    return replace(kill, namespace=replace(kill.namespace, addresses=addresses))


def _close(fd: int | None) -> None:
    if fd is not None:
        os.close(fd)


def distinctive(texts: Iterable[str]) -> tuple[str, ...]:
    """Leave out addresses that every namespace has: loopback, and link-local unless there is nothing else."""
    addresses = [ipaddress.ip_address(text) for text in dict.fromkeys(texts)]
    outer = [address for address in addresses if not address.is_loopback]
    routed = [address for address in outer if isinstance(address, ipaddress.IPv4Address) or not address.is_link_local]
    return tuple(str(address) for address in routed or outer)
