# SPDX-License-Identifier: Apache-2.0
"""What the harness needs of the machine that it runs on: commands, a cache, one clear error."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


class HarnessError(Exception):
    """The harness cannot go on; the message is one line for a person."""


def cache_dir() -> Path:
    """Where packages, kernels and images are kept between runs: never in the source tree."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "oomtrace-vm"


def require(*programs: str) -> None:
    """Name every program that is missing, in one error."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        raise HarnessError(
            f"not installed: {', '.join(missing)}. On Debian: apt-get install"
            " qemu-system-x86 mmdebstrap fdisk e2fsprogs, and for arm64"
            " qemu-system-arm gcc-aarch64-linux-gnu libc6-dev-arm64-cross"
        )


def output_of(command: Sequence[str | Path], cwd: Path | None = None) -> str:
    """Run a command and return what it printed; its last error line becomes the exception."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, "LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        message = done.stderr.strip() or done.stdout.strip() or "no message"
        raise HarnessError(f"{command[0]} failed: {message.splitlines()[-1]}")
    return done.stdout


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Let one run at a time fill the cache; a second one waits and then finds everything there."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def published(target: Path) -> Iterator[Path]:
    """Give a temporary path beside `target` and rename it there only if nothing went wrong."""
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield draft
        draft.rename(target)
    finally:
        if draft.is_dir():
            shutil.rmtree(draft)
        else:
            draft.unlink(missing_ok=True)
