# SPDX-License-Identifier: Apache-2.0
"""The addresses of the victim's network namespace: by these others knew it. The only module that knows pyroute2."""

from __future__ import annotations

import ctypes
import ipaddress
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from ooMtrace.enrich import Enricher
from ooMtrace.enrich.timebox import Patient
from ooMtrace.record import OomKill, Process

CLONE_NEWNET = 0x40000000  # include/uapi/linux/sched.h
FAMILIES = (socket.AF_INET, socket.AF_INET6)

# A namespace without a name is found by a process that lives there. A host may have tens of thousands of those, and one
# that is out of memory is slow: better a line without addresses than one that comes late, or none for the next kill.
MAX_PLACES = 4096
SEARCH_S = 0.1
# The kernel answers at once, unless somebody holds its lock of all networks (rtnl): then the answer is not worth it.
ANSWER_S = 0.5
# Addresses change, and the number of a namespace that has gone is soon given to a new one.
KNOWN_S = 10.0
UNKNOWN_S = 1.0
MAX_CACHED = 64

Identity = tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Answer:
    """What was found for a kill, and until when it may be told again; `killed` is that kill's time."""

    addresses: tuple[str, ...] | None
    killed: str
    until: float

    def holds_for(self, kill: OomKill, moment: float) -> bool:
        """Tell whether it is about this kill's namespace, too.

        Who was born later may live in a new namespace under the number of the old one: a container that is started
        again whenever it is killed.
        """
        if self.addresses is None:
            return moment < self.until
        born = kill.process.creation.time if kill.process.creation else None
        return moment < self.until and born is not None and born <= self.killed


def add_netns_addresses(
    proc: Path = Path("/proc"),
    run: Path = Path("/run"),
    clock: Callable[[], float] = time.monotonic,
    *,
    search: bool = True,
) -> Enricher:
    """Return an enricher that tells the IP addresses in the victim's network namespace.

    The host's own namespace is left out: its addresses say nothing about the victim.

    Args:
        proc: Where processes are found.
        run: Where names of namespaces are found.
        clock: Seconds that only grow.
        search: Whether processes are looked at; without, the addresses are missing.
    """
    patient = Patient("addresses", ANSWER_S)
    answers: dict[str, _Answer] = {}

    def look_up(kill: OomKill, wanted: Identity) -> tuple[str, ...] | None:
        if patient.hangs():
            return None
        places = islice(_places(kill.process, proc, run), MAX_PLACES)
        namespace = _find(places, wanted, clock() + SEARCH_S, clock)
        return None if namespace is None else _ask(patient, namespace)

    def addresses(kill: OomKill, net: str, device: int) -> tuple[str, ...] | None:
        answer = answers.pop(net, None)
        if answer is None or not answer.holds_for(kill, clock()):
            found = look_up(kill, (device, int(net)))
            answer = _Answer(found, kill.time or "", clock() + (UNKNOWN_S if found is None else KNOWN_S))
        answers[net] = answer
        if len(answers) > MAX_CACHED:
            del answers[next(iter(answers))]
        return answer.addresses

    def enrich(kill: OomKill) -> OomKill:
        namespace = kill.namespace
        if namespace is None or namespace.net_ns is None:
            return kill
        own = _identity(proc / "self/ns/net")
        if own is not None and namespace.net_ns == str(own[1]):
            return kill
        found = None if own is None or not search else addresses(kill, namespace.net_ns, own[0])
        if found is None:
            return replace(kill, missing=(*kill.missing, "namespace.addresses"))
        return replace(kill, namespace=replace(namespace, addresses=found))

    return enrich


def _identity(file: Path | int) -> Identity | None:
    """Return device and number of a file; all namespaces are on one device, and nothing else is."""
    try:
        status = os.stat(file)  # noqa: PTH116 (an open file has no Path)
    except OSError:  # gone, or not ours to see
        return None
    return status.st_dev, status.st_ino


def _places(victim: Process, proc: Path, run: Path) -> Iterator[Path]:
    """Yield where a namespace may be found: the victim, the names given by `ip netns`, CNI and Docker, processes."""
    # The victim first, for it is about to go. A process whose first thread has ended is found by another one only.
    yield from (proc / str(one) / "ns/net" for one in (victim.pid, victim.tid) if one is not None)
    for folder in (run / "netns", run / "docker/netns"):
        yield from (folder / name for name in _names(folder))
    # Those that were started together live together, more often than not.
    pids = [int(name) for name in _names(proc) if name.isdecimal()]
    near = victim.pid or 0
    yield from (proc / str(pid) / "ns/net" for pid in sorted(pids, key=lambda pid: abs(pid - near)))


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 (a host may have very many processes, and Paths are slow)
    except OSError:  # nobody has named a namespace yet
        return []


def _find(places: Iterable[Path], wanted: Identity, deadline: float, clock: Callable[[], float]) -> int | None:
    for place in places:
        if _identity(place) == wanted:
            namespace = _open(place, wanted)
            if namespace is not None:
                return namespace
        if clock() > deadline:
            break
    return None


def _open(place: Path, wanted: Identity) -> int | None:
    """Open a namespace, and make sure that it still is the one: a process id or a name may have been given anew."""
    try:
        namespace = os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    if _identity(namespace) == wanted:
        return namespace
    os.close(namespace)
    return None


def _ask(patient: Patient, namespace: int) -> tuple[str, ...] | None:
    """Ask in a thread, for only that one enters; None if there is no answer in time. Closes the file descriptor."""
    answer: list[tuple[str, ...] | None] = []

    def question() -> None:
        try:
            answer.append(_addresses(namespace))
        finally:
            os.close(namespace)

    if not patient.begin(question):
        os.close(namespace)
    return answer[0] if answer else None


def _addresses(namespace: int) -> tuple[str, ...] | None:
    """Enter a network namespace for good, and return its addresses; None if it cannot be entered or asked."""
    try:
        # Only now: it takes 22 MB, and many a host never has a kill in a network namespace of its own.
        from pyroute2 import IPRoute, NetlinkDecodeError, NetlinkError
    except (ImportError, AttributeError, SyntaxError, OSError):  # not installed, or not for this Python
        return None
    refused = (OSError, NetlinkError, NetlinkDecodeError)
    unlike = (RuntimeError, AttributeError, LookupError, TypeError, ValueError)  # a pyroute2 that works in another way
    try:
        _enter(namespace)
        with IPRoute() as route:
            # The kernel may add families that have addresses, too, but not of IP.
            return _telling([_local(one) for one in route.get_addr() if one["family"] in FAMILIES])
    except (*refused, *unlike):
        return None


def _enter(namespace: int) -> None:
    # Not pyroute2.netns.setns(): it starts other programs to find the C library.
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def _local(message: Any) -> str:  # noqa: ANN401 (pyroute2 has no types)
    """Return this end's address: of a point-to-point link IFA_ADDRESS is the other end."""
    return str(message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS"))


def _telling(texts: Iterable[str]) -> tuple[str, ...]:
    """Leave out what is the same everywhere: loopback, and link-local if there is something else."""
    addresses = [ipaddress.ip_address(text) for text in dict.fromkeys(texts)]
    outer = [one for one in addresses if not one.is_loopback]
    routed = [one for one in outer if one.version == 4 or not one.is_link_local]  # noqa: PLR2004
    return tuple(str(one) for one in routed or outer)
