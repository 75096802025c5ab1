# SPDX-License-Identifier: Apache-2.0
"""A small Debian to install into: a throw-away layer over a root tree from the cache."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vm.host import output_of

from .roots import Recipe, root

PACKAGES = ("python3-bpfcc", "python3-venv", "ruby-sidekiq")
CHECKOUT = Path(__file__).parent.parent.parent
LOCKS = tuple(CHECKOUT / "requirements" / name for name in ("build.txt", "runtime.txt"))
PIP = "[global]\nno-index = true\nfind-links = /opt/wheels\ndisable-pip-version-check = true\n"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
UNSHARE = ("unshare", "--mount", "--pid", "--fork", "--kill-child")
START = """\
set -eu
mount -t overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" overlay "$2/root"
mount -t proc proc "$2/root/proc"
mount $4 "$2/root/sys"
mount --rbind /dev "$2/root/dev"
mount -t tmpfs tmpfs "$2/root/tmp"
mount --bind "$2/share" "$2/root/srv"
mount --bind -o ro "$3" "$2/root/mnt"
echo up
exec sleep infinity
"""
# a machine that makes kills needs the memory cgroups and tracefs
OWN_SYS, HOST_SYS = "-t sysfs -o ro sysfs", "--rbind /sys"


@dataclass(frozen=True, slots=True)
class Machine:
    """Commands in it see `share` as /srv and the checkout, read-only, as /mnt; what they write is below `written`."""

    share: Path
    written: Path
    root: Path
    pid: int

    def run(self, *command: str, user: str = "root", path: str = PATH) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; processes that it leaves running end with the machine."""
        spaces = f"/proc/{self.pid}/ns"
        enter = ["nsenter", f"--mount={spaces}/mnt", f"--pid={spaces}/pid_for_children"]
        return subprocess.run(
            [*enter, "chroot", f"--userspec={user}", self.root, *command],
            env={"PATH": path, "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )


@contextmanager
def machine(suite: str, folder: Path, tree: Path | None = None, sys_mount: str = OWN_SYS) -> Iterator[Machine]:
    """Start a machine with its files in `folder`; all that is mounted for it vanishes with its namespace.

    `tree` is another root tree than that of the suite.
    """
    for name in ("upper", "work", "root", "share"):
        (folder / name).mkdir()
    folder.chmod(0o755)
    process = subprocess.Popen(
        [*UNSHARE, "sh", "-c", START, "sh", tree or _tree(suite), folder, CHECKOUT, sys_mount],
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "up\n"
            yield Machine(folder / "share", folder / "upper", folder / "root", process.pid)
        finally:
            process.kill()


def _tree(suite: str) -> Path:
    recipe = Recipe(suite, "minbase", PACKAGES, extra=(*(lock.read_text() for lock in LOCKS), PIP))
    return root("oomtrace-machine", recipe, _add_wheels)


def _add_wheels(tree: Path) -> None:
    """Fetch what pip will ask for, outside: in the machine pip has no index, only these files."""
    asked = "import sys; print('%d.%d' % sys.version_info[:2])"
    python = output_of(["chroot", tree, "python3", "-c", asked]).strip()
    fetch = [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:", "--require-hashes"]
    platform = ["--python-version", python, "--platform", "manylinux_2_17_x86_64"]
    output_of([*fetch, *platform, "--dest", tree / "opt/wheels", *(f"--requirement={lock}" for lock in LOCKS)])
    (tree / "etc/pip.conf").write_text(PIP)
