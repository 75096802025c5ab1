# SPDX-License-Identifier: Apache-2.0
"""What a victim was doing and had open: converts its Context to parts of the record. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address, ip_address

from ooMtrace.events import Context, Descriptors, Socket, VictimEvent
from ooMtrace.kernel.cmdline import Cmdline, parse_cmdline, parse_environment
from ooMtrace.record import Connection, Endpoint, Executable, OpenFiles

S_IFIFO, S_IFCHR, S_IFDIR, S_IFBLK, S_IFREG, S_IFSOCK = 1, 2, 4, 6, 8, 12
"""inode(7), shifted right by 12."""

AF_UNIX = 1
UNIX_SOCKETS, UNIX_WALKED = 16, 64
"""Limits of the BPF side: named Unix domain sockets reported, and Unix domain sockets searched for names."""

TRANSPORTS = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6", 132: "sctp", 136: "udplite", 255: "raw", 262: "mptcp"}
"""IPPROTO_*, include/uapi/linux/in.h."""

IP_SIZES = (4, 16)

ADDRESSES = 256
"""Addresses kept as text: the victims of a storm are connected to the same servers."""

ESTABLISHED, LISTEN = 1, 10
STATES = (
    "",
    "established",
    "syn_sent",
    "syn_recv",
    "fin_wait1",
    "fin_wait2",
    "time_wait",
    "close",
    "close_wait",
    "last_ack",
    "listen",
    "closing",
    "new_syn_recv",
    "bound_inactive",
)
"""include/net/tcp_states.h."""

NO_CMDLINE = Cmdline(None, None, cut=False)


@dataclass(frozen=True, slots=True)
class VictimContext:
    """The parts of the record; None where nothing is known.

    Attributes:
        derived: Facts that are older than the kill.
        truncated: Facts that are incomplete because a limit was reached.
    """

    cmdline: Cmdline = NO_CMDLINE
    executable: Executable | None = None
    working_directory: str | None = None
    open_files: OpenFiles | None = None
    connections: tuple[Connection, ...] | None = None
    environment: dict[str, str] | None = None
    derived: tuple[str, ...] = ()
    truncated: tuple[str, ...] = ()


def victim_context(event: VictimEvent, context: Context | None, env: Iterable[str]) -> VictimContext:
    """Return what the victim of `event` was doing.

    Args:
        event: The kill; its arguments at exec are used if the context has none.
        context: None if it did not arrive in time.
        env: Names of the environment variables to include; globs allowed.
    """
    cmdline = _cmdline(context)
    derived: tuple[str, ...] = ()
    if cmdline is NO_CMDLINE and event.exec_args is not None:
        cmdline, derived = parse_cmdline(*event.exec_args), ("process.command_args",)
    if context is None:
        return VictimContext(cmdline, derived=derived, truncated=tuple(_truncated(cmdline, None, None)))
    files = context.descriptors
    return VictimContext(
        cmdline=cmdline,
        executable=Executable(path=join_path(context.executable)),
        working_directory=join_path(context.working_directory),
        open_files=_open_files(files) if files else None,
        connections=tuple(map(_connection, files.sockets)) if files else None,
        environment=dict(parse_environment(context.environment, env)) if context.environment is not None else None,
        derived=derived,
        truncated=tuple(_truncated(cmdline, files, context)),
    )


def _cmdline(context: Context | None) -> Cmdline:
    if context is None or context.arguments is None or context.arguments_size is None:
        return NO_CMDLINE
    return parse_cmdline(context.arguments, context.arguments_size, context.arguments_end)


def _truncated(cmdline: Cmdline, files: Descriptors | None, context: Context | None) -> Iterator[str]:
    if cmdline.cut:
        yield "process.title" if cmdline.title is not None else "process.command_args"
    if files and _more_sockets(files):
        yield "process.connections"
    if context and context.environment is not None and (context.environment_size or 0) > len(context.environment):
        yield "process.environment"


def _more_sockets(files: Descriptors) -> bool:
    unix = sum(socket.family == AF_UNIX for socket in files.sockets)
    inet = len(files.sockets) - unix
    return files.tcp + files.udp > inet or files.unix > UNIX_WALKED or files.unix > UNIX_SOCKETS == unix


def join_path(names: tuple[str, ...] | None) -> str | None:
    """Join names, leaf first, into an absolute path; None if the names are not known."""
    return None if names is None else "/" + "/".join(reversed(names))


def _open_files(files: Descriptors) -> OpenFiles:
    kinds = files.kinds
    return OpenFiles(
        total=sum(kinds),
        regular=kinds[S_IFREG],
        directory=kinds[S_IFDIR],
        device=kinds[S_IFCHR] + kinds[S_IFBLK],
        pipe=kinds[S_IFIFO],
        socket=kinds[S_IFSOCK],
        anonymous=kinds[0],
        tcp=files.tcp,
        udp=files.udp,
        unix=files.unix,
        incomplete=None if files.all else True,
    )


def _connection(socket: Socket) -> Connection:
    if socket.family == AF_UNIX:
        transport, local, remote = "unix", _unix_name(socket.local), _unix_name(socket.remote)
    else:
        transport = TRANSPORTS.get(socket.protocol or 0, str(socket.protocol or "ip"))
        local, remote = _endpoint(socket.local, socket.local_port), _endpoint(socket.remote, socket.remote_port)
    return Connection(
        fd=socket.fd, transport=transport, state=_state(transport, socket.state), local=local, remote=remote
    )


def _state(transport: str, state: int | None) -> str | None:
    """Name a state. The kernel uses TCP states for every protocol; only two of them have a meaning elsewhere."""
    if state is None or not (transport in ("tcp", "mptcp") or state in (ESTABLISHED, LISTEN)):
        return None
    return STATES[state] if 0 <= state < len(STATES) else str(state)


def _endpoint(address: bytes | None, port: int | None) -> Endpoint | None:
    """Return one end of a connection; None if it has neither an address nor a port."""
    if address is None or len(address) not in IP_SIZES or not (any(address) or port):
        return None
    return Endpoint(address=_ip(address), port=port)


@lru_cache(ADDRESSES)
def _ip(address: bytes) -> str:
    """Format 4 or 16 bytes."""
    ip = ip_address(address)
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped:
        ip = ip.ipv4_mapped
    return str(ip)


def _unix_name(name: bytes | None) -> Endpoint | None:
    """Format sun_path as /proc/net/unix does: zero bytes of an abstract name become `@`."""
    if not name:
        return None
    text = name.replace(b"\0", b"@") if name[:1] == b"\0" else name.partition(b"\0")[0]
    return Endpoint(address=text.decode("utf-8", "backslashreplace"))
