# SPDX-License-Identifier: Apache-2.0
"""A cache of compiled BPF programs. A file in it is used only if nobody but this user can have written it."""

from __future__ import annotations

import importlib.util
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from ooMtrace import __version__
from ooMtrace.kernel.build import Build
from ooMtrace.kernel.plan import Plan
from ooMtrace.probe.bpf_sources import bpf_dir
from ooMtrace.probe.build_file import decode_build, encode_build
from ooMtrace.probe.digest import hasher
from ooMtrace.probe.image import MAGIC, MAX_SIZE, Image, decode_image, encode_image
from ooMtrace.probe.libbcc_bpf import compiler_identity

DEFAULT = Path("/var/cache/oomtrace")
OWN_NAME = re.compile(r"[0-9a-f]{32}\.(?:bpf|kernel)|[0-9]+\.new")
PROGRAMS, BUILD = "bpf", "kernel"
"""Suffixes of names."""
MAX_FILES = 16
"""Files kept: one for each level and combination of options that was compiled last. Each has about 50 KB."""

PART = 1 << 16
"""Bytes read at a time: the type information of a kernel has 5 MiB, which would stay in the heap."""

READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


Content = TypeVar("Content")


class ImageCache:
    """The compiled programs in one directory.

    Args:
        path: The directory, for messages.
        directory: Open on it; kept open.
        warn: Takes one line, at most once, about programs that are not used.
        sys_dir: Where sysfs is mounted.
    """

    def __init__(self, path: Path, directory: int, warn: Callable[[str], None], sys_dir: Path = Path("/sys")) -> None:
        self.path = path
        self._directory = directory
        self._warn: Callable[[str], None] | None = warn
        self._sys = sys_dir
        self._btf: bytes | None = None

    def close(self) -> None:
        """Close the directory."""
        os.close(self._directory)

    def read(self, plan: Plan, release: str) -> Image | None:
        """Return the programs for a plan; None if there are none that can be used."""
        return self._read(image_key(plan, release, self._sys, self._btf_hash()), PROGRAMS, decode_image)

    def read_build(self) -> Build | None:
        """Return what is known of the running kernel's build; None if it has to be read from the kernel."""
        return self._read(build_key(self._btf_hash()), BUILD, decode_build)

    def write_build(self, build: Build) -> None:
        """Store what was read of the running kernel's build, if it is complete."""
        if build.types.error == "" and build.symbols:
            key = build_key(self._btf_hash())
            self._write(_name(key, BUILD), encode_build(build, key))

    def _read(self, key: bytes, suffix: str, decode: Callable[[bytes, bytes], Content]) -> Content | None:
        name = _name(key, suffix)
        try:
            return decode(_read_trusted(name, self._directory), key)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            self.refuse(f"{name}: {reason}")
            return None

    def refuse(self, reason: str) -> None:
        """Say once that cached programs are not used, and why."""
        if self._warn:
            self._warn(f"the cached BPF programs in {self.path} are not used ({reason}); compiling them again")
        self._warn = None

    def write(self, plan: Plan, release: str, image: Image) -> None:
        """Store the programs for a plan; where that fails, the next start compiles again."""
        key = image_key(plan, release, self._sys, self._btf_hash())
        self._write(_name(key, PROGRAMS), encode_image(image, key))

    def _btf_hash(self) -> bytes:
        """Return the hash of the kernel's type information, which is read once: it has 5 MiB."""
        if self._btf is None:
            self._btf = hash_btf(self._sys)
        return self._btf

    def _write(self, name: str, data: bytes) -> None:
        if len(data) > MAX_SIZE:
            return
        new = f"{os.getpid()}.new"
        with suppress(OSError):
            self._remove(new)
            try:
                with os.fdopen(os.open(new, WRITE, 0o600, dir_fd=self._directory), "wb") as file:
                    file.write(data)
                os.rename(new, name, src_dir_fd=self._directory, dst_dir_fd=self._directory)
            except OSError:
                self._remove(new)
                raise
            self._remove_old()

    def _remove(self, name: str) -> None:
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._directory)

    def _remove_old(self) -> None:
        with os.scandir(self._directory) as entries:
            files = [entry for entry in entries if OWN_NAME.fullmatch(entry.name)]
        files.sort(key=lambda entry: entry.stat(follow_symlinks=False).st_mtime, reverse=True)
        for entry in files[MAX_FILES:]:
            self._remove(entry.name)


def cache_path() -> Path | None:
    """Return the first directory of $CACHE_DIRECTORY (systemd.exec(5)), else /var/cache/oomtrace; None: unusable."""
    path = Path(os.environ.get("CACHE_DIRECTORY", "").split(":")[0] or DEFAULT)
    return path if path.is_absolute() else None


def open_cache(
    warn: Callable[[str], None], path: Path | None = None, sys_dir: Path = Path("/sys"), *, create: bool = True
) -> ImageCache | None:
    """Open the cache in a directory, by default `cache_path()`; None where there can be none.

    Of directories, only /var/cache/oomtrace is created. One that others can write to is not used, with a message.
    """
    path = path or cache_path()
    if path is None:
        return None
    try:
        if path == DEFAULT and create:
            with suppress(FileExistsError):
                path.mkdir(0o700)
        directory = os.open(path, READ | os.O_DIRECTORY)
    except OSError:
        return None
    status = os.fstat(directory)
    if status.st_uid != os.geteuid() or status.st_mode & OTHERS_WRITE:
        os.close(directory)
        warn(f"the cache in {path} is not used: only this user may own it and write to it (chmod 0700)")
        return None
    return ImageCache(path, directory, warn, sys_dir)


def hash_btf(sys_dir: Path = Path("/sys")) -> bytes:
    """Return a hash of the kernel's type information (BTF); that of nothing if there is none."""
    return _hash_file(sys_dir / "kernel/btf/vmlinux")


def build_key(btf: bytes) -> bytes:
    """Return a hash of all that the facts about a kernel's build depend on, given that of its type information."""
    uname = os.uname()
    digest = hasher(MAGIC)
    digest.update(repr((__version__, uname.release, uname.version, uname.machine)).encode())
    kernel = Path(__file__).parent.parent / "kernel"
    sources = [
        Path(__file__).with_name("build_file.py"),
        *(kernel / f"{name}.py" for name in ("btf", "build", "offsets")),
    ]
    for path in sources:
        digest.update(_hash_file(path))
    digest.update(btf)
    return digest.digest()


def image_key(plan: Plan, release: str, sys_dir: Path = Path("/sys"), btf: bytes | None = None) -> bytes:
    """Return a hash of all that the compiled programs depend on. Kernel addresses are not in the programs.

    Args:
        plan: What is compiled.
        release: The kernel's `uname -r`.
        sys_dir: Where sysfs is mounted.
        btf: From `hash_btf`, if it is known already.
    """
    digest = hasher()
    for part in _key_parts(plan, release, sys_dir):
        digest.update(part)
    digest.update(btf or hash_btf(sys_dir))
    return digest.digest()


def _key_parts(plan: Plan, release: str, sys_dir: Path) -> Iterator[bytes]:
    uname = os.uname()
    names = (__version__, plan.program, release, uname.version, uname.machine, compiler_identity())
    yield MAGIC
    yield repr((names, sorted(plan.macros.items()), list(plan.addresses))).encode()
    own = Path(__file__).parent
    sources = [own / "compiler.py", own / "image.py", *sorted(bpf_dir().rglob("*.[ch]"))]
    for path in (*sources, sys_dir / "devices/system/cpu/possible", _bcc_version_file()):
        yield _hash_file(path)


def _hash_file(path: Path) -> bytes:
    """Return the SHA-256 of a file's contents, read in parts; that of nothing if it cannot be read."""
    digest = hasher()
    with suppress(OSError), path.open("rb", buffering=0) as file:
        while part := file.read(PART):
            digest.update(part)
    return digest.digest()


def _bcc_version_file() -> Path:
    """Find the file that states BCC's version, without importing BCC."""
    found = importlib.util.find_spec("bcc")
    return Path(found.origin).parent / "version.py" if found and found.origin else Path("/nonexistent")


def _name(key: bytes, suffix: str) -> str:
    return f"{key.hex()[:32]}.{suffix}"


def _read_trusted(name: str, directory: int) -> bytes:
    """Return a file's contents.

    Raises:
        OSError: It is missing, or a symbolic link.
        ValueError: It is something else than a regular file of this user that no other can write to, or too large.
    """
    with os.fdopen(os.open(name, READ, dir_fd=directory), "rb", buffering=0) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("not a regular file")
        if status.st_uid != os.geteuid():
            raise ValueError("owned by another user")
        if status.st_mode & OTHERS_WRITE:
            raise ValueError("other users can write to it")
        if status.st_size > MAX_SIZE:
            raise ValueError("too large")
        return file.read(MAX_SIZE + 1) or b""
