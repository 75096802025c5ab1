# SPDX-License-Identifier: Apache-2.0
"""Boot one guest in QEMU and evaluate the files that it leaves, never QEMU's exit status."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .architecture import Architecture
from .host import output_of
from .images import ROOT_PARTUUID

END_MARKER = re.compile(r"^VM-END status=(\d+)", re.MULTILINE)
# What a dying kernel says first; the earliest match in the console is the cause, the rest follows.
DEATHS = re.compile(r"Kernel panic - not syncing: .*|Oops: .*|BUG: .*|general protection fault.*")
OUT_DISK_MB = 256
# One virtual CPU unless a machine asks for more: with two, QEMU's multi-threaded emulation makes kernel 7.3 oops on its
# own live-patched code now and then. An oops is made a panic, so that a broken guest ends at once;
# `quiet` keeps the OOM reports off the slow emulated serial line (they are in dmesg.txt).
COMMAND_LINE = f"root=PARTUUID={ROOT_PARTUUID} rootwait rw init=/sbin/vm-init quiet oops=panic panic=-1"


@dataclass(frozen=True, slots=True)
class Result:
    """How a boot went."""

    finished: bool
    """The guest printed its end marker, so whatever is in its output folder is complete."""
    reason: str
    """Why it did not finish; empty when it did."""
    console: str
    seconds: float


def boot(
    architecture: Architecture,
    kernel: Path,
    image: Path,
    payload: Path,
    out: Path,
    *,
    initramfs: Path | None = None,
    memory_mb: int = 1024,
    cpus: int = 1,
    numa_nodes: int = 1,
    cmdline_extra: Sequence[str] = (),
    qemu_options: Sequence[str] = (),
    time_limit_s: float,
) -> Result:
    """Boot `kernel` on `image`, let it run the payload folder, and fill `out` with its results.

    `out` gets console.log, qemu.log and, in `out/guest`, the guest's /out.
    """
    if out.exists():
        shutil.rmtree(out)
    (out / "guest").mkdir(parents=True)
    payload_tar, result_tar = out / "payload.tar", out / "result.tar"
    output_of(["tar", "--create", "--file", payload_tar, "--directory", payload, "."])
    with result_tar.open("wb") as disk:
        disk.truncate(OUT_DISK_MB << 20)
    cmdline = " ".join([COMMAND_LINE, f"console={architecture.console}", *cmdline_extra])
    command = [
        # however this process ends, the guest must not outlive it
        *("setpriv", "--pdeathsig", "KILL"),
        *_machine(architecture, memory_mb, cpus, numa_nodes),
        *qemu_options,
        *("-kernel", str(kernel), "-append", cmdline),
        *(("-initrd", str(initramfs)) if initramfs else ()),
        *_disk("root", image, "snapshot=on"),
        *_disk("payload", payload_tar, "readonly=on"),
        *_disk("out", result_tar, "cache=unsafe"),
        *("-serial", f"file:{out / 'console.log'}"),
    ]
    began = time.monotonic()
    in_time = _run(command, out / "qemu.log", time_limit_s)
    result = _evaluate(out, in_time, time.monotonic() - began, time_limit_s)
    if result.finished:
        output_of(["tar", "--extract", "--file", result_tar, "--directory", out / "guest"])
    payload_tar.unlink()
    result_tar.unlink()
    return result


def _machine(architecture: Architecture, memory_mb: int, cpus: int, numa_nodes: int) -> list[str]:
    command = [*architecture.qemu, "-smp", str(cpus)]
    command += ["-m", str(memory_mb), "-nodefaults", "-display", "none", "-no-reboot"]
    if numa_nodes > 1:
        for node in range(numa_nodes):
            share = memory_mb // numa_nodes
            command += ["-object", f"memory-backend-ram,id=memory{node},size={share}M"]
            # the only CPU belongs to the first node, the others are memory alone
            first = "cpus=0," if node == 0 else ""
            command += ["-numa", f"node,nodeid={node},{first}memdev=memory{node}"]
    return command


def _disk(serial: str, file: Path, options: str) -> list[str]:
    drive = f"if=none,id={serial},format=raw,{options},file={file}"
    return ["-drive", drive, "-device", f"nvme,drive={serial},serial={serial}"]


def _run(command: Sequence[str], log: Path, time_limit_s: float) -> bool:
    """Run QEMU to its end; at the time limit kill it and return False."""
    with log.open("wb") as messages:
        qemu = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=messages, stderr=messages, env=_environment())
        try:
            qemu.wait(time_limit_s)
        except subprocess.TimeoutExpired:
            return False
        finally:
            qemu.kill()
            qemu.wait()
    return True


def _environment() -> dict[str, str]:
    # snapshot=on keeps what the guest writes in a temporary file, which /tmp may be too small for
    return {"TMPDIR": "/var/tmp", **os.environ}


def _evaluate(out: Path, in_time: bool, seconds: float, time_limit_s: float) -> Result:
    console_file = out / "console.log"
    console = console_file.read_text(errors="replace") if console_file.exists() else ""
    if END_MARKER.search(console):
        return Result(True, "", console, seconds)
    death = DEATHS.search(console)
    messages = (out / "qemu.log").read_text(errors="replace").strip()
    if death:
        reason = death[0].strip()
    elif not in_time:
        reason = f"hung: no end marker within {time_limit_s:.0f} s"
    elif messages and not console:
        reason = f"QEMU: {messages.splitlines()[-1]}"
    else:
        reason = "the guest ended without its end marker"
    return Result(False, reason, console, seconds)
