# SPDX-License-Identifier: Apache-2.0
"""What is to outlive us lies in a folder that nobody else writes to, whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import resource
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ooMtrace.errors import StateError
from ooMtrace.reconcile.state_dir import LIMIT, StateDir

HOLD = """
import sys
from pathlib import Path
from ooMtrace.reconcile.state_dir import StateDir
folder = StateDir(Path(sys.argv[1]))
print("taken", flush=True)
sys.stdin.read()
"""
NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state"


def refusal(path: Path) -> str:
    with pytest.raises(StateError) as caught:
        StateDir(path)
    assert caught.value.exit_code == 1
    return str(caught.value)


def names(path: Path) -> list[str]:
    return sorted(one.name for one in path.iterdir())


def open_files() -> set[str]:
    return {str(one.readlink()) for one in Path("/proc/self/fd").iterdir() if one.is_symlink()}


def test_a_file_is_read_by_the_next_run(path):
    with StateDir(path) as folder:
        folder.write("kills", b"1")
        folder.write("kills", b"22")
        folder.write("boot", b"")

    with StateDir(path) as folder:
        assert [folder.read(name) for name in ("kills", "boot", "other")] == [b"22", b"", None]
    assert names(path) == ["boot", "kills", "lock"]


def test_other_users_cannot_read_it(path):
    before = os.umask(0)
    try:
        with StateDir(path) as folder:
            folder.write("kills", b"1")
    finally:
        os.umask(before)

    modes = {one.name: stat.S_IMODE(one.stat().st_mode) for one in (path, *path.iterdir())}
    assert modes == {"state": 0o700, "kills": 0o600, "lock": 0o600}


def test_parent_directories_are_not_created(path):
    assert refusal(path / "deep") == (
        f"{path / 'deep'}: No such file or directory; create its parent directory, or choose another --state"
    )
    assert not path.exists()


def test_a_symbolic_link_is_refused(path, tmp_path):
    (tmp_path / "real").mkdir()
    path.symlink_to("real")

    assert refusal(path) == f"{path}: Not a directory; name a directory, not a symbolic link, with --state"
    assert names(tmp_path / "real") == []


@as_root
def test_another_users_directory_is_refused(path):
    path.mkdir()
    os.chown(path, NOBODY, 0)

    assert refusal(path) == f"{path} belongs to user 65534; chown it to user 0, or choose another --state"


@pytest.mark.parametrize("mode", [0o770, 0o720, 0o702, 0o1777])
def test_a_directory_that_others_may_write_to_is_refused(path, mode):
    path.mkdir()
    path.chmod(mode)

    assert refusal(path) == f"{path} may be written by others; chmod go-w it, or choose another --state"


def test_a_refused_directory_is_not_kept_open(path):
    path.mkdir()
    path.chmod(0o777)

    refusal(path)

    assert not {name for name in open_files() if name.startswith(str(path))}


def test_a_second_process_learns_who_holds_it_and_gets_it_when_the_first_is_killed(path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as first:
        assert first.stdout
        assert first.stdout.readline() == b"taken\n"
        assert refusal(path) == (
            f"{path} is used by another oomtrace (pid {first.pid}); stop it, or choose another --state"
        )
        first.kill()

    with StateDir(path):
        assert (path / "lock").read_text() == f"{os.getpid()}\n"


def test_one_process_cannot_hold_it_twice(path):
    with StateDir(path):
        refusal(path)
    StateDir(path).close()


@pytest.mark.parametrize(
    ("number", "fact"),
    [(errno.EWOULDBLOCK, r"is used by another oomtrace \(pid \d+\)"), (errno.ENOLCK, "/lock: No locks available")],
)
def test_a_lock_that_cannot_be_had_leaves_no_file_open(path, monkeypatch, number, fact):
    def refuse(_fd: int, _operation: int) -> None:
        raise OSError(number, os.strerror(number))

    StateDir(path).close()
    monkeypatch.setattr(fcntl, "flock", refuse)

    assert re.search(fact, refusal(path))
    assert not {name for name in open_files() if name.startswith(str(path))}


def test_a_link_in_the_place_of_a_file_is_not_followed(path, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    with StateDir(path) as folder:
        (path / "kills").symlink_to(secret)
        with pytest.raises(StateError, match=r"/kills: Too many levels of symbolic links; choose another --state$"):
            folder.read("kills")
        folder.write("kills", b"1")

        assert folder.read("kills") == b"1"
    assert secret.read_bytes() == b"secret"


def test_a_link_in_the_place_of_the_lock_is_not_followed(path, tmp_path):
    path.mkdir(0o700)
    (path / "lock").symlink_to(tmp_path / "made")

    assert "/lock: Too many levels of symbolic links; " in refusal(path)
    assert not (tmp_path / "made").exists()


def test_a_fifo_in_the_place_of_a_file_does_not_block(path):
    with StateDir(path) as folder:
        os.mkfifo(path / "kills", 0o600)
        with pytest.raises(StateError, match=r"/kills is not a regular file; remove it$"):
            folder.read("kills")


@as_root
def test_another_users_file_is_refused(path):
    with StateDir(path) as folder:
        folder.write("kills", b"1")
        os.chown(path / "kills", NOBODY, 0)
        with pytest.raises(StateError, match=r"/kills belongs to user 65534; "):
            folder.read("kills")


def test_a_file_that_others_may_write_is_refused(path):
    with StateDir(path) as folder:
        folder.write("kills", b"1")
        (path / "kills").chmod(0o620)
        with pytest.raises(StateError, match=r"/kills may be written by others; "):
            folder.read("kills")


@pytest.mark.parametrize(("size", "read"), [(LIMIT, LIMIT), (LIMIT + 1, 0)])
def test_a_file_that_is_too_long_reads_as_empty(path, size, read):
    with StateDir(path) as folder:
        folder.write("kills", bytes(size))

        data = folder.read("kills")
    assert data is not None
    assert len(data) == read


def test_a_directory_that_was_renamed_is_still_used(path, tmp_path):
    with StateDir(path) as folder:
        path.rename(tmp_path / "moved")
        path.mkdir()
        folder.write("kills", b"1")

    assert (tmp_path / "moved/kills").read_bytes() == b"1"
    assert names(path) == []


def test_half_written_files_are_removed(path):
    path.mkdir(0o700)
    (path / "kills").write_bytes(b"1")
    (path / "kills.new").write_bytes(b"ha")

    StateDir(path).close()

    assert names(path) == ["kills", "lock"]


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing_behind(path):
    with StateDir(path) as folder:
        folder.write("kills", b"old")
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))  # Python ignores SIGXFSZ
        try:
            with pytest.raises(StateError, match=r"/kills: File too large; free space there, or choose another"):
                folder.write("kills", bytes(8192))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

        assert folder.read("kills") == b"old"
    assert names(path) == ["kills", "lock"]


def test_a_thousand_writes_leak_no_descriptor(path):
    with StateDir(path) as folder:
        before = len(list(Path("/proc/self/fd").iterdir()))
        for number in range(1000):
            folder.write("kills", b"%d" % number)

        assert len(list(Path("/proc/self/fd").iterdir())) == before
        assert folder.read("kills") == b"999"
