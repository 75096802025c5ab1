# SPDX-License-Identifier: Apache-2.0
"""A directory for small files that survive this process: only we write to it, and only one process at a time."""

from __future__ import annotations

import errno
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
"""Suffix of a file's name while it is written. There is one writer, so one such name is enough."""

LIMIT = 1 << 20
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
ANOTHER = "choose another --state"

LASTING = frozenset(
    {
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.EEXIST,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.EINVAL,
        errno.EACCES,
        errno.EPERM,
    }
)
"""Errors that mean that the path is wrong. All others, such as a full or failing disk, may pass."""


class StateUnavailableError(StateError):
    """The directory cannot be used now, but may be later."""


class StateDir:
    """Small files in a directory that is locked from construction to `close`. Not thread-safe.

    The directory is opened once and all names are looked up in it, so that nobody can put another in its place.

    Args:
        path: The directory. It is created if it does not exist; its parent must exist.

    Raises:
        StateUnavailableError: The file system is full, fails or is read-only, or too many files are open.
        StateError: It cannot be opened, others may write to it, or another oomtrace uses it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with _explained(path, f"create its parent directory, or {ANOTHER}"), suppress(FileExistsError):
            path.mkdir(0o700)
        with _explained(path, "name a directory, not a symbolic link, with --state"):
            self._directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            _check(self._directory, path, stat.S_ISDIR)
            self._lock = self._lock_directory()
            self._remove_unfinished()
        except BaseException:
            os.close(self._directory)
            raise

    def __enter__(self) -> StateDir:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Unlock the directory; if the process dies, the kernel does it."""
        for fd in (self._lock, self._directory):
            with suppress(OSError):  # EIO: closed nevertheless
                os.close(fd)

    def is_removed(self) -> bool:
        """Say whether the directory has no name any more, or its file system is gone."""
        try:
            return os.fstat(self._directory).st_nlink == 0
        except OSError:
            return True

    def read(self, name: str, limit: int = LIMIT) -> bytes | None:
        """Return the contents of a file: None if there is none, b"" if it is longer than the limit, and so not ours.

        Raises:
            StateError: It cannot be read, or others may write to it.
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
        """Replace a file atomically.

        Nothing waits for the disk (no fsync), for this happens after each kill. If the process dies, the kernel still
        has the data; if the machine does, the counter and the log that the data is compared with are gone, too.

        Raises:
            StateError: It cannot be written; the old file is still there.
        """
        new = name + UNFINISHED
        with _explained(self._path / name, f"free space there, or {ANOTHER}"):
            try:
                with os.fdopen(self._open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
                    file.write(data)
                os.rename(new, name, src_dir_fd=self._directory, dst_dir_fd=self._directory)
            except OSError:
                self._remove(new)
                raise

    def _open(self, name: str, flags: int) -> int:
        """Open a regular file that only we may write to; O_NONBLOCK, so that a FIFO in its place does not block."""
        mode = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        fd = os.open(name, flags | mode, 0o600, dir_fd=self._directory)
        try:
            _check(fd, self._path / name, stat.S_ISREG)
        except StateError:
            os.close(fd)
            raise
        return fd

    def _lock_directory(self) -> int:
        """Lock the directory for the life of this process, and leave our pid for the next one to report."""
        path = self._path / LOCK
        with _explained(path, ANOTHER):
            lock = self._open(LOCK, os.O_RDONLY | os.O_CREAT)  # only for reading, so that `mount -o remount,ro` works
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                pid = os.read(lock, 20).decode("ascii", "replace").strip()
                os.close(lock)
                raise StateError(
                    f"{self._path} is used by another oomtrace (pid {pid})", f"stop it, or {ANOTHER}"
                ) from error
            except OSError:  # a network file system without locks
                os.close(lock)
                raise
        with suppress(OSError), os.fdopen(self._open(LOCK, os.O_WRONLY | os.O_TRUNC), "wb") as file:
            file.write(b"%d\n" % os.getpid())  # on a full disk the lock itself must do
        return lock

    def _remove_unfinished(self) -> None:
        with suppress(OSError):
            for name in os.listdir(self._directory):  # noqa: PTH208 (by its descriptor, not by its name)
                if name.endswith(UNFINISHED):
                    self._remove(name)

    def _remove(self, name: str) -> None:
        with suppress(OSError):
            os.unlink(name, dir_fd=self._directory)


def _check(fd: int, path: Path, right_kind: Callable[[int], bool]) -> None:
    status = os.fstat(fd)
    if not right_kind(status.st_mode):
        raise StateError(f"{path} is not a regular file", "remove it")
    if status.st_uid != os.geteuid():
        raise StateError(f"{path} belongs to user {status.st_uid}", f"chown it to user {os.geteuid()}, or {ANOTHER}")
    if status.st_mode & OTHERS_WRITE:
        raise StateError(f"{path} may be written by others", f"chmod go-w it, or {ANOTHER}")


@contextmanager
def _explained(path: Path, hint: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        kind = StateError if error.errno in LASTING else StateUnavailableError
        raise kind(f"{path}: {error.strerror}", hint) from error
