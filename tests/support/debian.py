# SPDX-License-Identifier: Apache-2.0
"""A Debian root tree with real workers in it, so that nothing is installed or started on the machine itself."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ooMtrace.scratch import ScratchCgroup

SUITE = "bookworm"
PACKAGES = ("ruby-sidekiq", "redis-server", "postgresql", "python3-minimal", "python3-setproctitle")
# LLVM is a third of the tree, and PostgreSQL compiles no query of ours
UNWANTED = (
    "/usr/share/man/*",
    "/usr/share/locale/*",
    "/usr/share/doc/*",
    "/usr/lib/*/libLLVM*",
    "/usr/lib/postgresql/*/lib/bitcode/*",
)
# no test uses a tree for as long as this
UNUSED_AFTER_S = 24 * 3600
INSIDE = Path(__file__).with_name("inside.sh")
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}


@dataclass(frozen=True, slots=True)
class Tree:
    """A root tree. Commands in it see `share`, a folder of the caller, as /srv, and can write nowhere else."""

    root: Path
    share: Path

    def start(
        self,
        *command: str,
        user: str = "root",
        hostname: str = "",
        cgroup: ScratchCgroup | None = None,
        env: dict[str, str] | None = None,
        **streams: Any,
    ) -> subprocess.Popen[str]:
        """Start a command: its process is the one returned, for all on the way there is exec.

        With a hostname it gets new UTS and pid namespaces, like a container: then it is the child of the process
        returned, and dies with it.
        """
        namespaces = ["--uts", "--pid", "--fork", "--kill-child"] if hostname else []
        where = [str(self.root), str(self.share), user, hostname, str(cgroup.folder) if cgroup else ""]
        return subprocess.Popen(
            ["unshare", "--mount", *namespaces, INSIDE, *where, *command],
            env={**ENVIRONMENT, **(env or {})},
            text=True,
            **streams,
        )

    def run(self, *command: str, user: str = "root", env: dict[str, str] | None = None) -> str:
        """Run a command to its end and return what it printed; raises CalledProcessError."""
        with self.start(*command, user=user, env=env, stdout=subprocess.PIPE) as process:
            printed, _ = process.communicate()
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, command, printed)
        return printed


def tree(share: Path) -> Tree:
    """Return the tree from the cache, or build it there; `OOMTRACE_TREE=/` in a machine that has it all itself."""
    if "OOMTRACE_TREE" in os.environ:
        return Tree(Path(os.environ["OOMTRACE_TREE"]), share)
    from vm.host import locked, published

    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "oomtrace-root"
    root = cache / f"{SUITE}-{_key()}"
    with locked(cache):
        _drop_unused(cache, root)
        if not root.exists():
            with published(root) as draft:
                _bootstrap(draft)
        os.utime(root)
    return Tree(root, share)


def _key() -> str:
    return hashlib.sha256(repr((SUITE, PACKAGES, UNWANTED)).encode()).hexdigest()[:12]


def _drop_unused(cache: Path, root: Path) -> None:
    """Remove trees of other packages, and drafts of builds that were killed: nobody else is building now."""
    for other in cache.iterdir():
        unused = other.name.startswith(".") or time.time() - other.stat().st_mtime > UNUSED_AFTER_S
        if other.is_dir() and other != root and unused:
            shutil.rmtree(other)


def _bootstrap(root: Path) -> None:
    from vm.debs import source_line
    from vm.host import output_of

    output_of(
        [
            # whatever becomes of the build, neither a mount nor a process of it is left
            *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
            "mmdebstrap",
            "--mode=root",
            "--variant=essential",
            "--format=directory",
            f"--include={','.join(PACKAGES)}",
            '--aptopt=Apt::Install-Recommends "false"',
            "--dpkgopt=force-unsafe-io",
            *(f"--dpkgopt=path-exclude={pattern}" for pattern in UNWANTED),
            SUITE,
            root,
            source_line(SUITE),
        ]
    )
