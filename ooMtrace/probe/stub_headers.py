# SPDX-License-Identifier: Apache-2.0
"""Stub headers in place of the kernel's own, so that BCC does not need kernel headers installed."""

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
from ooMtrace.probe.bpf_sources import bpf_dir

FALLBACK_DIRS = ("/run", "/var/tmp", "/tmp")
VERSION_H = "#define LINUX_VERSION_CODE {code}\n#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + (c))\n"


def version_h(release: str) -> str:
    """Return the text of linux/version.h for a release such as `6.1.0-18-amd64`.

    BCC uses it to recognize old kernels only. Sublevels above 255 become 255, as in the kernel's Makefile.
    """
    match = re.match(r"([0-9]{1,9})\.([0-9]{1,9})(?:\.([0-9]{1,9}))?", release)
    major, minor, sub = (int(n or 0) for n in match.groups()) if match else (5, 10, 0)
    return VERSION_H.format(code=(major << 16) + (minor << 8) + min(sub, 255))


def _safe_dir() -> Path:
    """Return a directory in which no other user can replace ours: $TMPDIR if it qualifies, else the first fallback."""
    for name in (os.environ.get("TMPDIR") or "/tmp", *FALLBACK_DIRS):
        directory = Path(name).resolve()
        if all(map(_is_safe, (directory, *directory.parents))) and os.access(directory, os.W_OK):
            return directory
    raise ProbeError("no safe directory for temporary files", "set TMPDIR to one that only you can write to")


def _is_safe(directory: Path) -> bool:
    try:
        status = directory.stat()
    except OSError:
        return False
    others_write = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return status.st_uid in (0, os.geteuid()) and (not others_write or bool(status.st_mode & stat.S_ISVTX))


@contextmanager
def header_tree(release: str) -> Iterator[Path]:
    """Create the header tree in a new directory that only we can enter, and remove it at the end.

    The compiler reads it as root, so no other user may ever write to it: mkdtemp(3) creates it with mode 0700.

    Raises:
        ProbeError: There is no safe directory for it.
    """
    with tempfile.TemporaryDirectory(prefix="oomtrace-", dir=_safe_dir()) as directory:
        tree = Path(directory)
        shutil.copytree(bpf_dir() / "include", tree / "include")
        (tree / "include/linux/version.h").write_text(version_h(release))
        yield tree
