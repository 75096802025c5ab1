# SPDX-License-Identifier: Apache-2.0
"""The tree of stub headers that stands in for the kernel's own, so that BCC needs none installed."""

from __future__ import annotations

import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ooMtrace.errors import ProbeError

PACKAGE = Path(__file__).resolve().parent.parent
TEMPORARY = ("/run", "/var/tmp", "/tmp")
VERSION_H = "#define LINUX_VERSION_CODE {code}\n#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + (c))\n"


def sources() -> Path:
    """Return the folder with the kernel side: inside an installed package, beside it in a checkout."""
    for folder in (PACKAGE / "bpf", PACKAGE.parent / "bpf"):
        if (folder / "oomtrace.bpf.c").is_file():
            return folder
    raise ProbeError(f"the kernel side is missing from {PACKAGE}", "install oomtrace again")


def version_h(release: str) -> str:
    """Return linux/version.h for a release such as `6.1.0-18-amd64`.

    BCC asks only to tell old kernels apart; sublevels above 255 are cut to 255, as the kernel's Makefile does.
    """
    found = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", release)
    major, minor, sub = (int(n or 0) for n in found.groups()) if found else (5, 10, 0)
    return VERSION_H.format(code=(major << 16) + (minor << 8) + min(sub, 255))


def _safe_folder() -> Path:
    """Return a folder in which nobody else can put another in the place of ours: $TMPDIR if it is one."""
    for name in (os.environ.get("TMPDIR") or "/tmp", *TEMPORARY):
        folder = Path(name).resolve()
        if all(map(_is_safe, (folder, *folder.parents))) and os.access(folder, os.W_OK):
            return folder
    raise ProbeError("no folder for temporary files is safe", "set TMPDIR to one that only you may write to")


def _is_safe(folder: Path) -> bool:
    try:
        status = folder.stat()
    except OSError:
        return False
    others_write = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return status.st_uid in (0, os.geteuid()) and (not others_write or bool(status.st_mode & stat.S_ISVTX))


@contextmanager
def header_tree(release: str) -> Iterator[Path]:
    """Lay the header tree out in a new folder that only we can enter, and take it away afterwards.

    The compiler runs as root on what lies there, so nobody else may ever write to it: mkdtemp(3) makes it mode 0700.
    """
    with tempfile.TemporaryDirectory(prefix="oomtrace-", dir=_safe_folder()) as folder:
        tree = Path(folder)
        shutil.copytree(sources() / "include", tree / "include")
        (tree / "include/linux/version.h").write_text(version_h(release))
        yield tree
