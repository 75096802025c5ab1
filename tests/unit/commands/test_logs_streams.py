# SPDX-License-Identifier: Apache-2.0
"""The same log as a file, through a pipe and compressed; zones, ids, and what hostile files may cost."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from support.log_kills import kills

from ooMtrace import cli
from ooMtrace.commands.decompress import ZSTD_MODULES
from ooMtrace.commands.local_zone import local_zone
from ooMtrace.kmsg.to_record import Origin

OOMTRACE = Path(sys.executable).with_name("oomtrace")
SIZES = "total-vm:80000kB, anon-rss:48000kB, file-rss:0kB, shmem-rss:0kB, UID:1000 pgtables:168kB oom_score_adj:0"
KILL = f"Out of memory: Killed process 4242 (hog) {SIZES}"
NOISE = "Mar  5 09:59:{:02} box1 app[7]: request {} served, nothing of interest here\n"
SYSLOG = "".join(NOISE.format(i % 60, i) for i in range(14_500)) + f"Mar  5 10:00:00 box1 kernel: {KILL}\n"
BARE = "".join(f"usb 1-1: new device number {i}\n" for i in range(30_000)) + f"{KILL}\n"
PEAK = r"""
import re, sys
from ooMtrace.cli import main
code = main(["logs", "--output", "/dev/null", sys.argv[1]])
print(code, re.search(r"VmHWM:\s+(\d+)", open("/proc/self/status").read())[1])
"""
BOUND_MIB = 300


def zstd() -> Any:
    for name in ZSTD_MODULES:
        try:
            return import_module(name)
        except ImportError:
            continue
    return pytest.fail("no module for zstd: it is in the development dependencies")


PACKED: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".bz2": bz2.compress,
    ".zst": lambda data: zstd().compress(data),
}


def without_observed(stdout: bytes) -> list[Any]:
    return [{**json.loads(line), "observed": None} for line in stdout.splitlines()]


def run(*arguments: str | Path, stdin: bytes | int | None = None) -> list[Any]:
    more: dict[str, Any] = {"input": stdin} if isinstance(stdin, bytes) else {"stdin": stdin}
    done = subprocess.run([OOMTRACE, "logs", *arguments], capture_output=True, check=True, **more)
    return without_observed(done.stdout)


@pytest.mark.parametrize("text", [SYSLOG, BARE], ids=["syslog", "bare"])
def test_a_megabyte_with_a_kill_at_its_end_gives_the_same_line_however_it_is_read(text, tmp_path):
    data, path = text.encode(), tmp_path / "kern.log"
    path.write_bytes(data)
    os.utime(path, (time.time(), time.time()))
    [line] = run(path)

    assert len(data) > 900_000
    assert line["process"]["tid"] == 4242
    for suffix, pack in PACKED.items():
        packed = tmp_path / f"kern.log{suffix}"
        packed.write_bytes(pack(data))
        assert run(packed) == [line], suffix
        with packed.open("rb") as file:
            assert run("-", stdin=file.fileno()) == [line], suffix
    for arguments in (("-",), ()):
        with subprocess.Popen(["cat", path], stdout=subprocess.PIPE) as cat:
            assert cat.stdout
            assert run(*arguments, stdin=cat.stdout.fileno()) == [line]
        assert run(*arguments, stdin=data) == [line]


@pytest.mark.parametrize("size", [1, 7, 4096, 65_537])
def test_the_line_does_not_depend_on_how_the_log_is_split(size):
    data = (BARE[-40_000:] + SYSLOG[-40_000:]).encode()
    origin, latest = Origin("x"), datetime(2026, 11, 24, tzinfo=timezone.utc)
    size = max(size, len(data) // 20_000)
    blocks = [data[i : i + size] for i in range(0, len(data), size)]

    assert list(kills(blocks, origin, latest)) == list(kills([data], origin, latest))


def lines_of(tmp_path: Path, *logs: str) -> list[Any]:
    paths = [tmp_path / f"{number}.log" for number in range(len(logs))]
    for path, log in zip(paths, logs, strict=True):
        path.write_text(log)
    output = tmp_path / "lines"
    assert cli.main(["logs", "--output", str(output), *map(str, paths)]) == 0
    return without_observed(output.read_bytes())


BOOT = "[    0.000000] Linux version 6.1.0\n"


@pytest.mark.parametrize(
    "logs",
    [
        (f"{BOOT}[  100.100010] {KILL}\n{BOOT}[  100.100010] {KILL}\n",),
        (f"[  100.100010] {KILL}\n[  101.100010] x\n[  100.100010] {KILL}\n",),
        (f"{BOOT}# web1\n[  100.100010] {KILL}\n", f"{BOOT}# web2\n[  100.100010] {KILL}\n"),
        (f"Mar  5 10:00:00 web1 kernel: {KILL}\nMar  5 10:00:00 web2 kernel: {KILL}\n",),
        (f"Mar  5 10:00:00 web1 kernel: [  100.100010] {KILL}\nMar  6 10:00:00 web1 kernel: [  100.100010] {KILL}\n",),
        (f"{KILL}\nx\n{KILL}\n",),
        (f"[Mon Mar 16 10:20:30 2026] a\n[Mon Mar 16 10:20:30 2026] {KILL}\n", f"[Mon Mar 16 10:20:30 2026] {KILL}\n"),
        (f"[  100.100010] web1 kernel: {KILL}\n{BOOT}[  100.100010] web1 kernel: {KILL}\n",),
    ],
)
def test_kills_of_two_boots_hosts_or_files_have_different_ids(logs, tmp_path):
    lines = lines_of(tmp_path, *logs)

    assert len(lines) == 2
    assert len({line["id"] for line in lines}) == 2
    assert len({line["oom"]["incident"] for line in lines}) == 2


def test_a_kill_in_two_files_of_a_host_has_one_id(tmp_path):
    kernel = f"Mar  5 10:00:00 web1 kernel: {KILL}\n"
    first, second = lines_of(tmp_path, f"Mar  5 09:00:00 web1 app: hello\n{kernel}", kernel)

    assert first["id"] == second["id"]


@pytest.mark.parametrize("zone", ["Europe/Berlin", ":Europe/Berlin", "CET-1CEST,M3.5.0,M10.5.0/3"])
def test_a_date_has_the_offset_of_its_own_season(zone):
    latest = datetime(2026, 11, 28, tzinfo=local_zone(environ={"TZ": zone}))
    log = f"Jul  5 10:00:00 box1 kernel: {KILL}\nNov  5 10:00:00 box1 kernel: {KILL.replace('4242', '4243')}\n"
    found = list(kills([log.encode()], Origin("x"), latest))

    assert [kill.time for kill in found] == ["2026-07-05T08:00:00.000000Z", "2026-11-05T09:00:00.000000Z"]


def test_the_repeated_hour_goes_on_where_the_line_before_was():
    latest = datetime(2026, 11, 28, tzinfo=local_zone(environ={"TZ": "Europe/Berlin"}))
    clocks = ("02:30:00", "02:59:59", "02:00:05", "02:30:00", "03:00:00")
    lines = [f"2026-10-25T{clock} box1 kernel: {KILL.replace('4242', str(i))}\n" for i, clock in enumerate(clocks, 1)]
    found = list(kills(["".join(lines).encode()], Origin("x"), latest))

    assert [kill.time[11:19] for kill in found] == ["00:30:00", "00:59:59", "01:00:05", "01:30:00", "02:00:00"]


def test_the_zone_is_that_of_the_root_given(tmp_path):
    assert local_zone(tmp_path, {}) is timezone.utc
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/localtime").write_bytes(Path("/usr/share/zoneinfo/Asia/Tokyo").read_bytes())

    assert datetime(2026, 7, 1, tzinfo=local_zone(tmp_path, {})).utcoffset() == timedelta(hours=9)
    assert datetime(2026, 7, 1, tzinfo=local_zone(tmp_path, {"TZ": ""})).utcoffset() == timedelta(0)
    assert local_zone(tmp_path, {"TZ": "no such zone"}) is timezone.utc
    (tmp_path / "etc/localtime").write_bytes(b"damaged")
    assert local_zone(tmp_path, {}) is timezone.utc


def test_a_zone_whose_summer_time_has_no_rules_has_those_that_glibc_assumes(tmp_path):
    zone = local_zone(tmp_path, {"TZ": "EST5EDT"})

    assert [datetime(2026, month, 1, tzinfo=zone).utcoffset() for month in (1, 7)] == [
        timedelta(hours=-5),
        timedelta(hours=-4),
    ]


def many_hosts(path: Path) -> None:
    with path.open("w") as file:
        for i in range(40_000):
            file.write(f"Mar  5 10:00:00 host{i} kernel: oom-kill:constraint=CONSTRAINT_NONE,pid={i},uid=0\n")
        file.write(f"Mar  5 10:00:00 box1 kernel: {KILL}\n")


def bomb(path: Path) -> None:
    block = b"Mar  5 10:00:00 box1 app: nothing\n" * 30_000
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(120):
            file.write(block)
        file.write(f"Mar  5 10:00:00 box1 kernel: {KILL}\n".encode())


def bzip2_bomb(path: Path) -> None:
    with bz2.open(path, "wb", compresslevel=1) as file:
        for _ in range(100):
            file.write(b"\0" * (1 << 20))
        file.write(f"\nMar  5 10:00:00 box1 kernel: {KILL}\n".encode())


def one_line(path: Path) -> None:
    with path.open("wb") as file:
        file.write(b"Mar  5 10:00:00 box1 kernel: ")
        for _ in range(200):
            file.write(b"a" * (1 << 20))
        file.write(f"\nMar  5 10:00:00 box1 kernel: {KILL}\n".encode())


def large_window(path: Path) -> None:
    path.write_bytes(b"\x28\xb5\x2f\xfd\x00\xf8" + b"\0" * 64)


def large_dictionary(path: Path) -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 28, "preset": 0}]
    path.write_bytes(lzma.compress(b"x\n", filters=filters))


COSTLY = {
    make.__name__: (make, code)
    for make, code in (
        (many_hosts, 0),
        (bomb, 0),
        (bzip2_bomb, 0),
        (one_line, 0),
        (large_window, 1),
        (large_dictionary, 1),
    )
}


@pytest.mark.parametrize("name", COSTLY)
def test_no_file_makes_memory_grow(name, tmp_path):
    make, expected = COSTLY[name]
    path = tmp_path / "hostile"
    make(path)
    done = subprocess.run([sys.executable, "-c", PEAK, path], capture_output=True, text=True, check=True)
    code, peak = map(int, done.stdout.split())

    assert code == expected, done.stderr
    assert peak < BOUND_MIB << 10
    assert "Traceback" not in done.stderr
