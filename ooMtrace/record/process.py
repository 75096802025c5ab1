# SPDX-License-Identifier: Apache-2.0
"""The `process` object of a record: the victim, its memory and what it was doing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ooMtrace.record.fields import always, expected, optional


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """The victim's parent."""

    pid: int | None = expected("Process id in the initial pid namespace")
    vpid: int | None = expected("Process id in the parent's own (innermost) pid namespace")
    comm: str | None = expected("Name of the process (comm)")


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """The user that the victim ran as."""

    id: int | None = expected("Real user id in the initial user namespace")
    name: str | None = optional("Name of the user in the host's /etc/passwd; a container may use another name")


@dataclass(frozen=True, slots=True, kw_only=True)
class Creation:
    """The start of the victim."""

    time: str | None = expected("When the process started, RFC 3339 UTC")


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """The victim's memory when it was marked, in bytes."""

    anon: int | None = expected("Resident anonymous memory, in bytes")
    file: int | None = expected("Resident memory of mapped files, in bytes")
    shmem: int | None = expected("Resident shared memory, in bytes")
    swap: int | None = expected("Memory in swap, in bytes")
    page_tables: int | None = expected("Page tables, in bytes")
    total_vm: int | None = expected("Size of the address space, in bytes")
    peak_rss: int | None = expected("Peak resident set since the last execve(2), in bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Executable:
    """The program."""

    path: str | None = expected("Path of the executable file, as the victim saw it")


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenFiles:
    """The victim's open file descriptors, counted by type."""

    total: int = always("Number of open descriptors")
    regular: int = always("Regular files")
    directory: int = always("Directories")
    device: int = always("Character and block devices, including terminals")
    pipe: int = always("Pipes and FIFOs")
    socket: int = always("Sockets of any kind")
    anonymous: int = always("Anonymous inodes: eventfd, epoll, timerfd, BPF and others")
    tcp: int = always("Sockets that are TCP or another stream protocol over IP")
    udp: int = always("Sockets that are UDP or another datagram protocol over IP")
    unix: int = always("Unix domain sockets")
    incomplete: bool | None = optional(
        "True if only the first 1,024 descriptor slots were examined: the counts may be too low"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One end of a connection."""

    address: str | None = optional(
        "IP address, or the path or name of a Unix domain socket; `@` stands for the zero bytes of an abstract name"
    )
    port: int | None = optional("Port number")


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """An open socket."""

    fd: int = always("File descriptor number")
    transport: str = always("Protocol: `tcp`, `udp`, `unix`, or the name or number of another one")
    state: str | None = optional(
        "TCP state, such as `established` or `listen`; of other protocols only these two are reported"
    )
    local: Endpoint | None = optional("Local end")
    remote: Endpoint | None = optional("Remote end")
    service: str | None = optional(
        "Service that usually has the remote port or socket path; for a listening socket the local one"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """The victim."""

    pid: int | None = expected("Process id in the initial pid namespace, as shown by ps on the host")
    tid: int | None = expected("Id of the thread that the kernel marked: the pid in the kernel log")
    vpid: int | None = expected("Process id in the victim's own (innermost) pid namespace, as in its own logs")
    comm: str | None = expected("Name of the marked thread (comm)")
    parent: Parent | None = expected("The victim's parent")
    user: User | None = expected("The user that the victim ran as")
    creation: Creation | None = expected("The start of the victim")
    threads: int | None = expected("Number of threads before SIGKILL")
    oom_score_adj: int | None = expected("Value of /proc/PID/oom_score_adj, -1000 to 1000")
    memory: Memory | None = expected("The victim's memory when it was marked, in bytes")
    title: str | None = optional("Process title that the victim wrote over its arguments, as with setproctitle(3)")
    command_args: tuple[str, ...] | None = optional(
        "Command line arguments, the program name first; absent if the victim has a title"
    )
    executable: Executable | None = expected("The executed program")
    working_directory: str | None = expected("Current working directory, as the victim saw it")
    open_files: OpenFiles | None = expected("Open file descriptors, counted by type")
    connections: tuple[Connection, ...] | None = expected(
        "Open TCP, UDP and other IP sockets, and named Unix domain sockets"
    )
    environment: Mapping[str, str] | None = optional("Environment variables that --env allows")
