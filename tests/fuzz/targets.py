# SPDX-License-Identifier: Apache-2.0
"""What is promised of any bytes at all: each target takes some, and raises only where a promise is broken.

tests/unit/test_fuzz.py tries a few thousand in seconds, `make fuzz` as many millions as one has the time for.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import lzma
import re
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from support.log_kills import kills

from ooMtrace import record
from ooMtrace.assemble.assembler import Assembler
from ooMtrace.enrich.identity import add_identity
from ooMtrace.enrich.jobs.match import add_job
from ooMtrace.enrich.proc_cmdline import add_proc_cmdline
from ooMtrace.enrich.proc_status import add_proc_status
from ooMtrace.enrich.redact import redact
from ooMtrace.enrich.services import add_services
from ooMtrace.errors import BtfError, DecodeError
from ooMtrace.events import RepeatKill
from ooMtrace.kernel.btf import Btf
from ooMtrace.kernel.build import Build, Types
from ooMtrace.kernel.cgroup_mounts import parse_cgroup_mounts
from ooMtrace.kernel.cmdline import parse_cmdline, parse_environment
from ooMtrace.kernel.offsets import NAMES, Offsets, find_offsets
from ooMtrace.kernel.snapshot import HostSnapshot
from ooMtrace.kmsg.coverage import Coverage
from ooMtrace.kmsg.detect import AnyFormat
from ooMtrace.kmsg.formats import Dated, dmesg
from ooMtrace.kmsg.formats import kmsg as kmsg_record
from ooMtrace.kmsg.scanner import records as log_records
from ooMtrace.kmsg.to_record import Origin, with_seq
from ooMtrace.output.encode import LINE_LIMIT, encode
from ooMtrace.probe.build_file import decode_build, encode_build
from ooMtrace.probe.decode import decode
from ooMtrace.probe.image import Image, MapDefinition, Program, decode_image, encode_image

FIXTURES = Path(__file__).parent.parent / "fixtures"
KERNEL: dict[str, Any] = json.loads((FIXTURES / "kernel.json").read_text())
SYMBOLS = {name: (start, end) for name, (start, end) in KERNEL["symbols"].items()}
NOW = HostSnapshot(**KERNEL["now"])
HOST = record.Host(name="vm", boot_id="6b1f0c52-3a77-4a11-9c38-0d7f5d3f9e21", kernel=KERNEL["release"])
ORIGIN = Origin("2026-11-24T04:00:00.000000Z")
LATEST = datetime(2026, 11, 24, 4, tzinfo=timezone.utc)
KILL = record.OomKill(
    id="vm-1",
    observed=ORIGIN.observed,
    message="",
    fidelity="minimal",
    host=HOST,
    oom=record.Oom(incident="vm-1"),
    process=record.Process(tid=7),
)

CUT = b"\n-- cut --\n"
"""Stands between the parts of an input that has several."""

UNSAFE = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029]")


def check(kill: record.OomKill | record.OomNoKill) -> None:
    """Encode a record: one line of JSON in UTF-8, short enough, without a byte that a terminal or a reader obeys."""
    line = encode(with_seq(kill, 1))
    text = line.decode()
    assert len(line) <= LINE_LIMIT, f"{len(line)} bytes"
    assert text.endswith("}\n")
    assert not UNSAFE.search(text[:-1])
    assert json.loads(text)["id"] == kill.id


def kmsg(data: bytes) -> None:
    """Any log."""
    for found in log_records((data,), ORIGIN, LATEST):
        check(found)


def prefixes(data: bytes) -> None:
    """Any log behind any prefix, with lines wrapped at any width: no kill that the log does not have."""
    prefix, _, log = data.partition(CUT)
    width = int.from_bytes(prefix[:1], "little")
    parts = [line[i : i + 8 * width] for line in log.split(b"\n") for i in range(0, len(line), 8 * width or 1 << 20)]
    coverage = Coverage()
    wrapped = b"".join(prefix[1:] + part + b"\n" for part in parts)
    for kill in kills((wrapped,), ORIGIN, LATEST, coverage):
        check(kill)
        pid = kill.process.pid if kill.process.tid is None else kill.process.tid  # only chosen: its thread is unknown
        assert str(pid).encode() in wrapped
    assert coverage.unrecognized_kills <= wrapped.count(b"Kill")


def lines(data: bytes) -> None:
    """Any line, in every format: its text can be encoded in UTF-8."""
    dated = Dated(LATEST)
    for form in (AnyFormat(LATEST), kmsg_record, dated.syslog, dated.human, dmesg, dated.iso):
        for line in data.split(b"\n"):
            if found := form(line.decode("utf-8", "backslashreplace")):
                found.text.encode()


class Tree:
    """A folder in memory: as much of a Path as the readers of /proc use."""

    def __init__(self, files: dict[str, bytes], name: str = "") -> None:
        self._files = files
        self._name = name

    def __truediv__(self, name: str) -> Tree:
        return Tree(self._files, f"{self._name}/{name}")

    def read_bytes(self) -> bytes:
        try:
            return self._files[self._name.rpartition("/")[2]]
        except KeyError as error:
            raise FileNotFoundError from error

    def open(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self.read_bytes())


def proc(data: bytes) -> None:
    """Any status, cgroup, cmdline and comm of a process."""
    parts = data.split(CUT)
    tree: Any = Tree(dict(zip(("status", "cgroup", "cmdline", "comm"), parts, strict=False)))
    found = add_proc_cmdline(tree)(add_proc_status(tree)(KILL))
    if found is not KILL:
        check(add_job()(redact()(found)))


def cmdline(data: bytes) -> None:
    """Any memory of a process, from its arguments on."""
    size, end = struct.unpack("<HB", data[:3].ljust(3, b"\0"))
    for text in (
        *parse_cmdline(data[3:], size, end or None)[:2],
        *parse_environment(data[3:], ("QUEUE", "C*_?")).items(),
    ):
        assert text is None or "\0" not in "".join(text).encode().decode()


def context(data: bytes) -> None:
    """Any memory of a process, its name, its cgroup and the path of a socket."""
    header, *parts = data.split(CUT)
    memory, environment, comm, cgroup, socket = (*parts, *[b""] * 5)[:5]
    size, end = struct.unpack("<HB", header[:3].ljust(3, b"\0"))
    parsed = parse_cmdline(memory, size, end or None)
    name, path, address = (raw.decode("utf-8", "backslashreplace") for raw in (comm, cgroup, socket))
    endpoint = record.Endpoint(address=address)
    victim = replace(
        KILL,
        cgroup=record.Cgroup(path=path),
        process=record.Process(
            comm=name,
            title=parsed.title,
            command_args=parsed.args,
            working_directory=path,
            connections=(record.Connection(fd=3, transport="unix", remote=endpoint),),
            environment=parse_environment(environment, ("*",)),
        ),
    )
    redacted = redact()(add_services()(victim))
    assert redact()(redacted) == redacted
    check(add_identity()(add_job()(redacted)))


def mounts(data: bytes) -> None:
    """Any mount table."""
    for mount_point in (parse_cgroup_mounts(data).v1, parse_cgroup_mounts(data).v2):
        assert mount_point is None or "\n" not in str(mount_point) or b"\\012" in data


def btf(data: bytes) -> None:
    """Any type information."""
    with suppress(BtfError):
        types = Btf(data, NAMES)
        find_offsets(types)
        for name in ("mark_victim", "signal_generate"):
            types.tracepoint_arguments(name)
        types.function("oom_kill_process")


def records(data: bytes) -> None:
    """Any record of the kernel side."""
    with suppress(DecodeError):
        decode(data)


def wire(data: bytes) -> None:
    """Any records of the kernel side, one after the other."""
    assembler = Assembler(HOST, SYMBOLS, "full", all=True, lifecycle=True, env=("*",))
    for raw in data.split(CUT):
        with suppress(DecodeError):
            event = decode(raw)
            if not isinstance(event, RepeatKill):  # it is only counted
                for kill in assembler.add(event, NOW):
                    check(add_job()(redact()(kill)))
    for kill in assembler.due(1 << 64):
        check(add_job()(redact()(kill)))


def _logs() -> Iterator[bytes]:
    for path in sorted(FIXTURES.glob("kmsg/*.log*")):
        yield {".gz": gzip.decompress, ".xz": lzma.decompress}.get(path.suffix, bytes)(path.read_bytes())


RELEVANT = re.compile(
    rb"oom|Kill|Task|Mem-Info|[Cc]omm: |mems_allowed=|usage|stats for|pages (?:RAM|res|High)|Total swap"
    rb"|\[ *(?:pid|\d{1,7})"
)


def _reports() -> Iterator[bytes]:
    """Logs without irrelevant lines: shorter inputs allow more attempts."""
    for log in _logs():
        relevant = [line for line in log.split(b"\n") if RELEVANT.search(line)]
        yield b"\n".join((*relevant[:12], *relevant[12:][-12:], b""))


PREFIXES = (
    b"\0[    1.000000] ",
    b"\x0aMar 16 10:20:30 box kernel: ",
    b"\0> 17: [Mon Mar 16 10:20:30 2026] ",
    b"\0<3>1 2026-03-16T10:20:30Z box kernel - - - ",
    b"\0    MESSAGE=",
    b'\0\t"MESSAGE" : "',
    b"\x05\x1b[32m",
    b"\0Mar 16 10:20:30 10.0.0.5 ",
    b'\0{"log": "',
    b"\0kern.log:",
)


def _prefixed() -> Iterator[bytes]:
    reports = tuple(_reports())
    for i, prefix in enumerate(PREFIXES):
        yield prefix + CUT + reports[i * len(reports) // len(PREFIXES)]


def _lines() -> Iterator[bytes]:
    """One line of each shape."""
    shapes = {re.sub(rb"[0-9a-f]+", b"0", line)[:60]: line for log in _reports() for line in log.split(b"\n")}
    yield from shapes.values()


def _processes() -> Iterator[bytes]:
    status = b"Name:\tworker\nTgid:\t7\nPid:\t7\nPPid:\t1\nNStgid:\t7\t1\nThreads:\t4\n"
    for cgroup in (b"0::/a/b\n", b"0::/a (deleted)\n", b"5:memory:/docker/1\n0::/\n"):
        yield CUT.join((status, cgroup, b"python3\0-m\0celery\0worker\0", b"worker\n"))
    yield CUT.join((status.replace(b"worker", b"a\\nb\\\\c"), b"0::/x\n", b"postgres: writer\0\0\0", b"a\nb\n"))


def _contexts() -> Iterator[bytes]:
    for memory in (
        b"mysql\0-psecret\0--password=hunter22\0",
        b"postgres://user:password@host/db?sslkey=1&token=abcdef0123456789",
        b"airflow worker -- LocalExecutor: ['airflow', 'tasks', 'run', 'etl', 'load', 'manual__1']",
        b"python3\0-W\0x\0-m\0celery\0-A\0app\0worker\0-Q\0mail\0-n\0a@%h\0",
        b"resque-2.6.0: Processing mail since 1 [Mailer]\0\0\0",
    ):
        header = struct.pack("<HB", len(memory), 0)
        parts = (
            header,
            memory,
            b"API_TOKEN=abc\0QUEUE=mail\0",
            b"ruby",
            b"/slurm/uid_1/job_2/step_3/lxc.payload.a_b/docker/" + b"a1" * 32,
            b"/run/redis.sock",
        )
        yield CUT.join(parts)
        yield CUT.join((struct.pack("<HB", len(memory), 1), *parts[1:]))


def _mounts() -> Iterator[bytes]:
    yield b"cgroup2 /sys/fs/cgroup cgroup2 rw,nsdelegate 0 0\n"
    yield b"cgroup /a\\040b\\012c cgroup rw,memory 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n"


def _types() -> Iterator[bytes]:
    """One structure for each that is looked for, with its first member, that is an array in a typedef."""
    strings, types = bytearray(1), bytearray()

    def name(text: str) -> int:
        strings.extend(text.encode() + b"\0")
        return len(strings) - len(text) - 1

    types += struct.pack("<IIII", name("long"), 1 << 24, 8, 64)
    types += struct.pack("<IIIIII", 0, 3 << 24, 0, 1, 1, 2)
    types += struct.pack("<III", name("pair_t"), 8 << 24, 2)
    for one in ("task_struct.mm", "mm_struct.rss_stat", "cred.uid", "fs_struct.root", "css_set.subsys", "pid.numbers"):
        owner, member = one.split(".")
        types += struct.pack("<IIIIII", name(owner), 4 << 24 | 1, 24, name(member), 3, 64)
    types += struct.pack("<IIIIII", 0, 5 << 24 | 1, 24, name("id"), 1, 0)
    types += struct.pack("<IIIIII", name("kernfs_node"), 4 << 24 | 1, 24, 0, 10, 64)
    types += struct.pack("<IIIIi", name("cgroup_subsys_id"), 6 << 24 | 1, 4, name("memory_cgrp_id"), 4)
    types += struct.pack("<IIIIIII", 0, 13 << 24 | 2, 0, 0, 1, 0, 4)
    types += struct.pack("<IIIIII", 0, 2 << 24, 13, name("btf_trace_mark_victim"), 8 << 24, 14)
    header = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(strings))
    yield header + bytes(types) + bytes(strings)


def _records() -> Iterator[bytes]:
    """Each one, and what belongs together: a death and what the victim was doing."""
    found = {path.stem: path.read_bytes() for path in sorted(FIXTURES.glob("records/*.bin"))}
    yield from found.values()
    yield CUT.join(raw for name, raw in found.items() if name.startswith("lifecycle-"))


@dataclass(frozen=True)
class Target:
    """What is called, with what one begins, and how long the inputs of a long run may be."""

    run: Callable[[bytes], None]
    seeds: Callable[[], Iterator[bytes]]
    longest: int = 1 << 14


IMAGE_KEY = bytes(32)


def image(data: bytes) -> None:
    """A cached file is read, or refused with ValueError; a checksum that fits protects from nothing here."""
    header = encode_image(Image((), ()), IMAGE_KEY)
    payload = data[len(header) :]
    fitting = header[:48] + hashlib.sha256(payload).digest() + len(payload).to_bytes(4, "little") + payload
    for attempt in (data, fitting):
        with suppress(ValueError):
            decode_build(attempt, IMAGE_KEY)
        with suppress(ValueError):
            for program in decode_image(attempt, IMAGE_KEY).programs:
                program.relocated([1] * 0x10000, [1] * 0x10000)


def _images() -> Iterator[bytes]:
    code = bytes.fromhex("18110000000000000000000000000000180100000000000000000000000000009500000000000000")
    maps = (MapDefinition("events", 4, 4, 4, 2, 0), MapDefinition("kill_counter", 2, 4, 16, 1, 0))
    types = Types("", Offsets({"OFF_A": 8}, ()), ("task_struct *",), None, 7)
    yield encode_build(Build(types, {"oom_kill_process": (1, 2)}), IMAGE_KEY)
    yield encode_image(Image(maps, (Program("on_mark_victim", code, ((0, 1),), ((16, 0),)),), ("KILL",)), IMAGE_KEY)


TARGETS = {
    "image": Target(image, _images, 1 << 14),
    "kmsg": Target(kmsg, _reports, 1 << 17),
    "prefixes": Target(prefixes, _prefixed, 1 << 16),
    "lines": Target(lines, _lines, 1 << 12),
    "proc": Target(proc, _processes),
    "cmdline": Target(cmdline, _contexts),
    "context": Target(context, _contexts, 1 << 14),
    "mounts": Target(mounts, _mounts, 1 << 12),
    "btf": Target(btf, _types, 1 << 16),
    "records": Target(records, _records),
    "wire": Target(wire, _records, 1 << 16),
}
