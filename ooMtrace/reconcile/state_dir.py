# SPDX-License-Identifier: Apache-2.0
"""A folder of our own for what is to outlive us: nobody else writes there, and no two of us at once."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from ooMtrace.errors import StateError

LOCK = "lock"
UNFINISHED = ".new"
"""The end of a file's name while it is written. There is one writer, so one such name is enough."""

LIMIT = 1 << 20
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
ANOTHER = "choose another --state"


class StateDir:
    """Small files in a folder, from construction to `close`; nobody else has it meanwhile. One thread may use it.

    The folder is opened once and all names are looked up in it, so that nobody can put another in its place.

    Args:
        path: The folder. It is made if it is not there; the one above it must be there.

    Raises:
        StateError: It cannot be had, others may write to it, or another oomtrace has it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with _explained(path, f"make the folder above it, or {ANOTHER}"), suppress(FileExistsError):
            path.mkdir(0o700)
        with _explained(path, "name a folder, and no symbolic link to one, with --state"):
            self._folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            _check(self._folder, path, stat.S_ISDIR)
            self._lock = self._take()
            self._clean()
        except BaseException:
            os.close(self._folder)
            raise

    def __enter__(self) -> StateDir:
        """Nothing is left to do."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let the folder go."""
        self.close()

    def close(self) -> None:
        """Let the folder go; the kernel does it if we die."""
        os.close(self._lock)
        os.close(self._folder)

    def read(self, name: str, limit: int = LIMIT) -> bytes | None:
        """Return what a file holds: None if there is none, b"" if it is longer than the limit, and so not of ours.

        Raises:
            StateError: It cannot be read, or it is not ours alone.
        """
        with _explained(self._path / name, ANOTHER):
            try:
                fd = self._open(name, os.O_RDONLY)
            except FileNotFoundError:
                return None
            with os.fdopen(fd, "rb") as file:
                data = file.read(limit + 1)
        return data if len(data) <= limit else b""

    def write(self, name: str, data: bytes) -> None:
        """Put a file in place of what was there, whole or not at all.

        Nothing waits for the disk: this is done after each kill. If we die the kernel still has the data, and if the
        machine does, its counters and its log are gone with the boot that they would be compared with.

        Raises:
            StateError: It cannot be written; the old file is still there.
        """
        new = name + UNFINISHED
        with _explained(self._path / name, f"free space there, or {ANOTHER}"):
            try:
                with os.fdopen(self._open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
                    file.write(data)
                os.rename(new, name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
            except OSError:
                self._remove(new)
                raise

    def _open(self, name: str, flags: int) -> int:
        """Open a regular file that is ours alone; O_NONBLOCK, for anything else might make us wait."""
        mode = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        fd = os.open(name, flags | mode, 0o600, dir_fd=self._folder)
        try:
            _check(fd, self._path / name, stat.S_ISREG)
        except StateError:
            os.close(fd)
            raise
        return fd

    def _take(self) -> int:
        """Lock the folder as long as we live, and leave our pid for whoever comes next."""
        path = self._path / LOCK
        with _explained(path, ANOTHER):
            lock = self._open(LOCK, os.O_RDWR | os.O_CREAT)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                pid = os.read(lock, 20).decode("ascii", "replace").strip()
                os.close(lock)
                raise StateError(
                    f"{self._path} is used by another oomtrace (pid {pid})", f"stop it, or {ANOTHER}"
                ) from error
        with suppress(OSError):  # on a full disk the lock alone must do
            os.ftruncate(lock, 0)
            os.write(lock, b"%d\n" % os.getpid())
        return lock

    def _clean(self) -> None:
        for name in os.listdir(self._folder):  # noqa: PTH208 (by its descriptor, not by its name)
            if name.endswith(UNFINISHED):
                self._remove(name)

    def _remove(self, name: str) -> None:
        with suppress(OSError):
            os.unlink(name, dir_fd=self._folder)


def _check(fd: int, path: Path, right_kind: Callable[[int], bool]) -> None:
    status = os.fstat(fd)
    if not right_kind(status.st_mode):
        raise StateError(f"{path} is not a regular file", "take it away")
    if status.st_uid != os.geteuid():
        raise StateError(f"{path} belongs to user {status.st_uid}", f"chown it to user {os.geteuid()}, or {ANOTHER}")
    if status.st_mode & OTHERS_WRITE:
        raise StateError(f"{path} may be written by others", f"chmod go-w it, or {ANOTHER}")


@contextmanager
def _explained(path: Path, hint: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StateError(f"{path}: {error.strerror}", hint) from error
