# SPDX-License-Identifier: Apache-2.0
"""A Debian root tree with real job systems, so that nothing is installed or started on the machine itself."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ooMtrace.kernel.scratch_cgroup import ScratchCgroup

SUITE = "bookworm"
PACKAGES = ("ruby-sidekiq", "redis-server", "postgresql", "python3-minimal", "python3-setproctitle")
# LLVM is a third of the tree, and PostgreSQL compiles no query of ours
UNWANTED = ("/usr/lib/*/libLLVM*", "/usr/lib/postgresql/*/lib/bitcode/*")
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
    # not in that machine: it has neither a mirror nor a cache
    from .roots import DOCUMENTS, Recipe, root

    return Tree(root("oomtrace-root", Recipe(SUITE, "essential", PACKAGES, (*DOCUMENTS, *UNWANTED))), share)
