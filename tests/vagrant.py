# SPDX-License-Identifier: Apache-2.0
"""`make vagrant-test`: a real `vagrant up` of the local box, the demo and all scenarios in it. Exit 0 only if all hold.

libvirtd and all that it starts run in separate mount, network and process namespaces, with separate folders: however
the run ends, no process, network, firewall rule, volume or box is left, and the machine's own libvirtd is not touched.
The virtual machine has no network except to this host.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp

from vm.host import HarnessError, locked, output_of, published

ROOT = Path(__file__).parent.parent
VAGRANT = ROOT / "vagrant"
BUILD = VAGRANT / "box" / "build.sh"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "oomtrace-vagrant"
RESULTS = CACHE / "results"
BOX = "oomtrace/debian12"
MACHINE = "debian12"
SCRATCH = "scratch-"
# after these the machine itself must still answer
HARD = {"global", "storm"}
# where libvirt keeps its configuration and state
STATE = ("/etc/libvirt", "/run/libvirt", "/var/cache/libvirt", "/var/lib/libvirt", "/var/log/libvirt")
# QEMU as root, because only root may open /dev/kvm; and without features that need more daemons or the host's cgroups
QEMU_CONF = """\
user = "root"
group = "root"
remember_owner = 0
security_driver = "none"
cgroup_controllers = []
namespaces = []
stdio_handler = "file"
"""
NAMESPACES = ("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc")
# an upload prints its progress thousands of times
PROGRESS = re.compile(r"\s*(\S+: )?Progress: \d+%.*")
ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
TIMEOUT_S = 30


class StepError(Exception):
    """A step failed; the message says where its output is."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scenarios", nargs="*", help="only these (default: all that the machine lists)")
    parser.add_argument("--inside", nargs=2, type=Path, metavar=("SCRATCH", "BOX"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if os.geteuid() != 0:
        raise HarnessError("building a box and running libvirtd need root: use sudo")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    if chosen.inside:
        scratch, box = chosen.inside
        return with_reaper(lambda: inside(scratch, box, chosen.scenarios))
    with locked(CACHE):
        return outside(chosen.scenarios)


def outside(scenarios: list[str]) -> int:
    for leftover in CACHE.glob(f"{SCRATCH}*"):
        shutil.rmtree(leftover)
    shutil.rmtree(RESULTS, ignore_errors=True)
    RESULTS.mkdir(parents=True)
    box = built_box()
    scratch = Path(mkdtemp(prefix=SCRATCH, dir=CACHE))
    run = subprocess.Popen([*NAMESPACES, sys.executable, __file__, *scenarios, "--inside", scratch, box])
    try:
        return run.wait()
    finally:
        # the first process of the namespace dies with it, and with that one all others
        run.kill()
        run.wait()
        until(lambda: removed(scratch), f"{scratch} to be gone")


def removed(folder: Path) -> bool:
    shutil.rmtree(folder, ignore_errors=True)
    return not folder.exists()


def built_box() -> Path:
    """Return the folder with the box, built again only if its inputs have changed."""
    folders = (BUILD.parent, ROOT / "requirements")
    inputs = sorted(path for folder in folders for path in folder.rglob("*") if path.is_file())
    key = hashlib.sha256(b"".join(str(path).encode() + path.read_bytes() for path in inputs)).hexdigest()[:12]
    folder = CACHE / f"box-{key}"
    if not folder.exists():
        for other in CACHE.glob("box-*"):
            shutil.rmtree(other)
        with published(folder) as draft:
            draft.mkdir()
            step("build the box", BUILD, draft, limit_s=1800)
    return folder


def with_reaper(work: Callable[[], int]) -> int:
    """Do the work in a child: the first process of a namespace must reap orphans."""
    child = os.fork()
    if child == 0:
        return work()
    # the child gets the signal, too
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        ended, status = os.wait()
        if ended == child:
            return os.waitstatus_to_exitcode(status)


def inside(scratch: Path, box: Path, scenarios: list[str]) -> int:
    own_places(scratch)
    os.environ.update(
        VAGRANT_HOME=str(scratch / "home"),
        VAGRANT_DOTFILE_PATH=str(scratch / "dot"),
        VAGRANT_CHECKPOINT_DISABLE="1",
        VAGRANT_DEFAULT_PROVIDER="libvirt",
        OOMTRACE_BOX=BOX,
    )
    os.environ.setdefault("OOMTRACE_LIBVIRT_DRIVER", "qemu")
    start_libvirtd()
    step("vagrant validate", "vagrant", "validate")
    step("vagrant box add", "vagrant", "box", "add", "--name", BOX, box / "debian12.box", limit_s=600)
    try:
        step("vagrant up", "vagrant", "up", limit_s=1800)
        failed = try_all(scenarios)
    finally:
        step("vagrant destroy", "vagrant", "destroy", "--force", limit_s=300)
    print(f"{len(failed)} failed{': ' if failed else ''}{', '.join(failed)}; their output is in {RESULTS}", flush=True)
    return 1 if failed else 0


def own_places(scratch: Path) -> None:
    """Mount the run's own folders over those of libvirt, and show it only its own network."""
    for number, place in enumerate(map(Path, STATE)):
        own = scratch / f"libvirt-{number}"
        if place == Path("/etc/libvirt"):
            shutil.copytree(place, own)
            (own / "qemu.conf").write_text(QEMU_CONF)
        own.mkdir(exist_ok=True)
        place.mkdir(parents=True, exist_ok=True)
        output_of(["mount", "--bind", own, place])
    output_of(["mount", "-t", "sysfs", "sysfs", "/sys"])
    output_of(["ip", "link", "set", "lo", "up"])


def start_libvirtd() -> None:
    began = time.monotonic()
    with (RESULTS / "libvirtd.log").open("w") as log:
        subprocess.Popen(["libvirtd", "--pid-file", "/run/libvirt/own.pid"], stdout=log, stderr=log)
    answers = ["virsh", "--connect", "qemu:///system", "version"]
    until(lambda: subprocess.run(answers, capture_output=True, check=False).returncode == 0, "libvirtd to answer")
    report("libvirtd", began)


def try_all(scenarios: list[str]) -> list[str]:
    """Run the demo and the scenarios, and return the names of those that failed."""
    step("demo", *ssh("sudo oomtrace --pretty demo"), limit_s=300)
    step("list", *ssh("oomtrace-scenario --list"))
    failed = []
    for name in scenarios or (RESULTS / "list.log").read_text().split():
        try:
            step(f"scenario {name}", *ssh(f"sudo oomtrace-scenario {name}"), limit_s=900)
        except StepError as error:
            print(error, flush=True)
            failed.append(name)
        if name in HARD:
            step(f"ssh after {name}", *ssh("uptime"))
    return failed


def ssh(command: str) -> list[str]:
    return ["vagrant", "ssh", "--no-tty", "--command", command, MACHINE]


def step(title: str, *command: str | Path, limit_s: int = 120) -> None:
    """Run a command; keep its output in a file, and print how long it took."""
    began = time.monotonic()
    log = RESULTS / f"{title.replace(' ', '-')}.log"
    environment = {**os.environ, "PYTHON": sys.executable}
    try:
        with log.open("w") as out:
            done = subprocess.run(
                command,
                cwd=VAGRANT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                timeout=limit_s,
                check=False,
            )
    except subprocess.TimeoutExpired as error:
        raise StepError(f"{title}: not done after {limit_s} s; see {log}") from error
    finally:
        log.write_text(readable(log.read_text(errors="replace")))
    if done.returncode != 0:
        last = "\n    ".join(log.read_text().splitlines()[-8:])
        raise StepError(f"{title}: exit status {done.returncode}; the end of {log}:\n    {last}")
    report(title, began)


def readable(output: str) -> str:
    lines = re.split(r"[\r\n]+", ESCAPES.sub("", output))
    return "\n".join(line for line in lines if not PROGRESS.fullmatch(line))


def report(title: str, began: float) -> None:
    print(f"{time.monotonic() - began:6.1f} s  {title}", flush=True)


def until(holds: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not holds():
        if time.monotonic() > deadline:
            raise HarnessError(f"waited {TIMEOUT_S} s for {what}")
        time.sleep(0.2)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (HarnessError, StepError) as problem:
        sys.exit(str(problem))
    except KeyboardInterrupt:
        sys.exit(130)
