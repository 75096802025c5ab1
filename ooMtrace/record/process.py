# SPDX-License-Identifier: Apache-2.0
"""The record's part on the victim: who it was, what it held and what it was doing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ooMtrace.record.fields import always, expected, optional


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """The victim's parent."""

    pid: int | None = expected("Process id in the initial pid namespace")
    vpid: int | None = expected("Process id as it sees itself, in the innermost pid namespace")
    comm: str | None = expected("The process's name")


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Who ran it."""

    id: int | None = expected("Real user id in the initial user namespace")
    name: str | None = optional("The id's name in this host's /etc/passwd; inside a container it may be another")


@dataclass(frozen=True, slots=True, kw_only=True)
class Creation:
    """When it began."""

    time: str | None = expected("Start of the process, RFC 3339 UTC")


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What the victim held when it was marked, in bytes."""

    anon: int | None = expected("Resident anonymous memory")
    file: int | None = expected("Resident memory of mapped files")
    shmem: int | None = expected("Resident shared memory")
    swap: int | None = expected("In swap")
    page_tables: int | None = expected("Page tables")
    total_vm: int | None = expected("Size of the address space")
    peak_rss: int | None = expected("The most it ever had resident")


@dataclass(frozen=True, slots=True, kw_only=True)
class Executable:
    """The program."""

    path: str | None = expected("Its file, as the process saw the file system")


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenFiles:
    """What its file descriptors were, counted."""

    total: int = always("How many were open, of those looked at")
    regular: int = always("Files")
    directory: int = always("Directories")
    device: int = always("Character and block devices, terminals among them")
    pipe: int = always("Pipes")
    socket: int = always("Sockets of any kind")
    anonymous: int = always("What has no name: eventfd, epoll, timerfd, BPF, ...")
    tcp: int = always("Of the sockets: TCP, and other streams over IP")
    udp: int = always("Of the sockets: UDP, and other datagrams over IP")
    unix: int = always("Of the sockets: Unix domain")
    incomplete: bool | None = optional("True: only the first 1,024 descriptors were looked at, there may be more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One end of a connection."""

    address: str | None = optional("IP address, or the name of a Unix domain socket; `@` begins an abstract one")
    port: int | None = optional("Port number")


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """A socket that was open."""

    fd: int = always("Its file descriptor")
    transport: str = always("`tcp`, `udp`, `unix`, or another by the name or number of its protocol")
    state: str | None = optional("TCP's state, such as `established` or `listen`; of other sockets these two only")
    local: Endpoint | None = optional("This end")
    remote: Endpoint | None = optional("The other end")
    service: str | None = optional("What is known to be at the other end or, of one that listens, at this one")


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """The victim."""

    pid: int | None = expected("Process id in the initial pid namespace: what the host's ps shows")
    tid: int | None = expected("The thread that the kernel marked, which its log calls the process")
    vpid: int | None = expected("Process id as it saw itself: what its own logs show")
    comm: str | None = expected("Name of the marked thread")
    parent: Parent | None = expected("Its parent")
    user: User | None = expected("Who ran it")
    creation: Creation | None = expected("When it began")
    threads: int | None = expected("How many threads it had")
    oom_score_adj: int | None = expected("-1000 to 1000: /proc/PID/oom_score_adj")
    memory: Memory | None = expected("What it held")
    title: str | None = optional("What it had written over its arguments: its own words on what it was doing")
    command_args: tuple[str, ...] | None = optional("Its arguments, the program's name first; unless it has a title")
    executable: Executable | None = expected("The program")
    working_directory: str | None = expected("Where it was in the file system, as it saw it")
    open_files: OpenFiles | None = expected("Its file descriptors")
    connections: tuple[Connection, ...] | None = expected("Its TCP and UDP sockets, and Unix domain ones with a name")
    environment: Mapping[str, str] | None = optional("Its environment variables, of those allowed by --env")
