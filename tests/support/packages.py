# SPDX-License-Identifier: Apache-2.0
"""Programs of Debian packages, unpacked and not installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from vm.host import locked, published

LIBRARIES = "usr/lib/x86_64-linux-gnu"


def unpacked(*packages: str) -> Path:
    """Return the root of the packages' files, from the cache, or download them there."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "oomtrace-packages"
    found = cache / "-".join(packages)
    with locked(cache):
        if not found.exists():
            with published(found) as draft:
                draft.mkdir()
                subprocess.run(["apt-get", "download", *packages], cwd=draft, capture_output=True, check=True)
                for archive in draft.glob("*.deb"):
                    subprocess.run(["dpkg", "-x", archive, draft], check=True)
                    archive.unlink()
    return found


def program(path: str, package: str) -> tuple[Path, dict[str, str]]:
    """Return an absolute path of a program, and its environment: the installed one, or a package's."""
    installed = shutil.which(Path(path).name) if path.startswith("/usr/bin") else path
    if installed and Path(installed).exists():
        return Path(installed), {}
    root = unpacked(package)
    return root / path.lstrip("/"), environment_of(root)


def environment_of(root: Path) -> dict[str, str]:
    """Return what the programs below a root need to find their libraries."""
    folders = (root / LIBRARIES, root / LIBRARIES / "systemd")
    return {"LD_LIBRARY_PATH": ":".join(map(str, folders))}
