# SPDX-License-Identifier: Apache-2.0
"""The cache of compiled programs: what cannot be trusted is refused with one message, and compiled again."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ooMtrace.kernel.build import Build, Types
from ooMtrace.kernel.offsets import Offsets
from ooMtrace.kernel.plan import Plan
from ooMtrace.probe import image_cache
from ooMtrace.probe.image import Image, MapDefinition
from ooMtrace.probe.image_cache import MAX_FILES, ImageCache, build_key, cache_path, image_key, open_cache

PLAN = Plan("minimal", "minimal.bpf.c", {"PAGE_SIZE": 4096}, (), ())
IMAGE = Image((MapDefinition("events", 4, 4, 4, 2, 0),), ())


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def cache(tmp_path, said) -> ImageCache:
    (tmp_path / "cache").mkdir(0o700)
    cache = open_cache(said.append, tmp_path / "cache")
    assert cache
    cache.write(PLAN, "6.1.0", IMAGE)
    return cache


def file_of(tmp_path: Path) -> Path:
    (path,) = (tmp_path / "cache").iterdir()
    return path


def test_what_is_written_is_read_and_private(cache, tmp_path, said):
    assert cache.read(PLAN, "6.1.0") == IMAGE
    assert ((tmp_path / "cache").stat().st_mode & 0o777, file_of(tmp_path).stat().st_mode & 0o777) == (0o700, 0o600)
    assert said == []


def test_another_release_or_macro_is_a_miss_without_a_message(cache, said):
    assert cache.read(PLAN, "6.1.1") is None
    assert cache.read(replace(PLAN, macros={"PAGE_SIZE": 65536}), "6.1.0") is None
    assert said == []


@pytest.mark.parametrize("part", ["macros", "names", "program", "btf", "cpus", "compiler", "version", "kernel"])
def test_whatever_the_programs_depend_on_makes_another_key(tmp_path, monkeypatch, part):
    (tmp_path / "kernel/btf").mkdir(parents=True)
    (tmp_path / "devices/system/cpu").mkdir(parents=True)
    (tmp_path / "devices/system/cpu/possible").write_text("0-1\n")
    before = image_key(PLAN, "6.1.0", tmp_path)
    changed = {
        "macros": replace(PLAN, macros={}),
        "names": replace(PLAN, addresses={"OOM_KILL_PROCESS": 1}),
        "program": replace(PLAN, program="oomtrace.bpf.c"),
    }
    if part == "btf":
        (tmp_path / "kernel/btf/vmlinux").write_bytes(b"btf")
    elif part == "cpus":
        (tmp_path / "devices/system/cpu/possible").write_text("0-3\n")
    elif part == "compiler":
        monkeypatch.setattr(image_cache, "compiler_identity", lambda: "another")
    elif part == "version":
        monkeypatch.setattr(image_cache, "__version__", "99")
    elif part == "kernel":
        uname = os.uname()
        monkeypatch.setattr(os, "uname", lambda: os.uname_result((*uname[:3], "#2 another build", uname[4])))

    assert image_key(changed.get(part, PLAN), "6.1.0", tmp_path) != before


def key_with_other_contents(monkeypatch: pytest.MonkeyPatch, name: str, key: Callable[[], bytes]) -> bytes:
    """Return the key if a file of the package had other contents."""

    def hash_file(path: Path, real: Callable[[Path], bytes] = image_cache._hash_file) -> bytes:
        if path.name != name:
            return real(path)
        assert path.is_file()
        return b"other contents"

    with monkeypatch.context() as patch:
        patch.setattr(image_cache, "_hash_file", hash_file)
        return key()


@pytest.mark.parametrize("name", ["compiler.py", "image.py", "oomtrace.bpf.c", "minimal.bpf.c", "task.h"])
def test_a_change_of_a_source_of_the_programs_makes_another_key(monkeypatch, name):
    def key() -> bytes:
        return image_key(PLAN, "6.1.0")

    assert key_with_other_contents(monkeypatch, name, key) != key()


@pytest.mark.parametrize("name", ["build_file.py", "btf.py", "build.py", "offsets.py"])
def test_a_change_of_what_reads_a_kernels_build_makes_another_key(monkeypatch, name):
    def key() -> bytes:
        return build_key(b"btf")

    assert key_with_other_contents(monkeypatch, name, key) != key()


def test_another_version_of_bcc_and_none_make_other_keys(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "bcc", raising=False)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if not (Path(path) / "bcc").exists()])
    keys = {image_key(PLAN, "6.1.0")}
    (tmp_path / "bcc").mkdir()
    (tmp_path / "bcc/__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    for version in ("0.26.0", "0.31.0"):
        (tmp_path / "bcc/version.py").write_text(f"__version__ = '{version}'\n")
        keys.add(image_key(PLAN, "6.1.0"))

    assert len(keys) == 3


def test_another_boot_of_the_same_kernel_has_the_same_key(tmp_path):
    here, there = (replace(PLAN, addresses={"OOM_KILL_PROCESS": address}) for address in (1, 2))

    assert image_key(here, "6.1.0", tmp_path) == image_key(there, "6.1.0", tmp_path)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def link(path: Path) -> None:
    path.rename(path.parent.parent / "elsewhere")
    path.symlink_to(path.parent.parent / "elsewhere")


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir(0o700)


FAULTS = {
    "flipped": (flip, "damaged"),
    "link": (link, "Too many levels of symbolic links"),
    "fifo": (fifo, "not a regular file"),
    "directory": (directory, "Is a directory"),
    "empty": (lambda path: os.truncate(path, 0), "wrong size"),
    "1 GB": (lambda path: os.truncate(path, 1 << 30), "too large"),
    "writable by a group": (lambda path: path.chmod(0o620), "other users can write to it"),
    "writable by all": (lambda path: path.chmod(0o602), "other users can write to it"),
    "of another user": (lambda path: os.chown(path, 65534, -1), "owned by another user"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_file_that_cannot_be_trusted_is_refused_with_one_message(cache, tmp_path, said, fault):
    if fault == "of another user" and os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    cause, reason = FAULTS[fault]
    cause(path := file_of(tmp_path))

    assert cache.read(PLAN, "6.1.0") is None
    assert said == [
        f"the cached BPF programs in {path.parent} are not used ({path.name}: {reason}); compiling them again"
    ]


@pytest.mark.parametrize("fault", ["flipped", "link", "fifo", "1 GB"])
def test_a_refused_file_is_replaced(cache, tmp_path, fault):
    FAULTS[fault][0](file_of(tmp_path))
    cache.write(PLAN, "6.1.0", IMAGE)

    assert cache.read(PLAN, "6.1.0") == IMAGE


def test_few_files_are_kept_and_those_of_others_are_left_alone(cache, tmp_path):
    others = {f"{number}.txt.new" for number in range(MAX_FILES)}
    for name in others:
        (tmp_path / "cache" / name).touch()
    for size in range(MAX_FILES + 5):
        cache.write(replace(PLAN, macros={"PAGE_SIZE": size}), "6.1.0", IMAGE)

    assert len({path.name for path in (tmp_path / "cache").iterdir()} - others) == MAX_FILES
    assert all((tmp_path / "cache" / name).exists() for name in others)


@pytest.mark.parametrize("mode", [0o720, 0o770, 0o777])
def test_a_directory_that_others_can_write_to_is_refused_with_one_message(tmp_path, said, mode):
    tmp_path.chmod(mode)

    assert open_cache(said.append, tmp_path) is None
    assert len(said) == 1


def test_a_link_in_place_of_the_directory_or_a_missing_one_is_no_cache(tmp_path, said):
    (tmp_path / "link").symlink_to("/root")

    assert open_cache(said.append, tmp_path / "link") is None
    assert open_cache(said.append, tmp_path / "none") is None
    assert not (tmp_path / "none").exists()


def test_the_default_directory_is_created(tmp_path, said, monkeypatch):
    monkeypatch.setattr(image_cache, "DEFAULT", tmp_path / "cache")

    assert open_cache(said.append, tmp_path / "cache")
    assert (tmp_path / "cache").stat().st_mode & 0o7777 == 0o700


def test_a_directory_that_disappears_costs_only_the_compilation(cache, tmp_path):
    shutil.rmtree(tmp_path / "cache")
    cache.write(PLAN, "6.1.0", IMAGE)

    assert cache.read(PLAN, "6.1.0") is None


def test_only_the_first_refusal_is_reported(cache, tmp_path, said):
    flip(file_of(tmp_path))
    cache.read(PLAN, "6.1.0")
    cache.read(PLAN, "6.1.0")
    cache.refuse("again")

    assert len(said) == 1


def test_a_file_under_the_name_of_another_kernels_is_refused(cache, tmp_path, said):
    other = replace(PLAN, macros={})
    cache.write(other, "6.1.0", IMAGE)
    here, there = (image_key(plan, "6.1.0").hex()[:32] + ".bpf" for plan in (PLAN, other))
    (tmp_path / "cache" / there).replace(tmp_path / "cache" / here)

    assert cache.read(PLAN, "6.1.0") is None
    assert len(said) == 1


def test_a_directory_of_another_user_is_refused_with_one_message(cache, tmp_path, said):
    if os.geteuid() != 0:
        pytest.skip("only root can give a directory away")
    os.chown(tmp_path / "cache", 65534, -1)

    assert open_cache(said.append, tmp_path / "cache") is None
    assert len(said) == 1


@pytest.mark.parametrize(
    ("variable", "path"),
    [
        ("/var/cache/a", "/var/cache/a"),
        ("/var/cache/a:/var/cache/b", "/var/cache/a"),
        ("", "/var/cache/oomtrace"),
        (None, "/var/cache/oomtrace"),
    ],
)
def test_the_cache_is_where_systemd_says(monkeypatch, variable, path):
    monkeypatch.delenv("CACHE_DIRECTORY", raising=False)
    if variable is not None:
        monkeypatch.setenv("CACHE_DIRECTORY", variable)

    assert cache_path() == Path(path)


def test_a_relative_cache_directory_is_not_used(monkeypatch):
    monkeypatch.setenv("CACHE_DIRECTORY", "cache")

    assert cache_path() is None


BUILD_FACTS = Build(Types(offsets=Offsets({"OFF_TASK_MM": 8}, ())), {"oom_kill_process": (1, 2)})


def test_what_is_known_of_the_kernels_build_is_kept_beside_the_programs(cache, tmp_path, said):
    assert cache.read_build() is None
    cache.write_build(BUILD_FACTS)

    assert cache.read_build() == BUILD_FACTS
    assert cache.read(PLAN, "6.1.0") == IMAGE
    assert sorted(path.suffix for path in (tmp_path / "cache").iterdir()) == [".bpf", ".kernel"]
    assert said == []


@pytest.mark.parametrize("build", [BUILD_FACTS._replace(symbols={}), BUILD_FACTS._replace(types=Types("no BTF"))])
def test_an_incomplete_build_is_not_kept(cache, build):
    cache.write_build(build)

    assert cache.read_build() is None


def test_facts_of_another_build_are_not_used(cache, tmp_path, monkeypatch, said):
    cache.write_build(BUILD_FACTS)
    uname = os.uname()
    monkeypatch.setattr(os, "uname", lambda: os.uname_result((*uname[:3], "#2 another build", uname[4])))

    assert cache.read_build() is None
    assert said == []


def test_facts_of_another_type_information_are_not_used(tmp_path, said):
    (tmp_path / "kernel/btf").mkdir(parents=True)
    (tmp_path / "cache").mkdir(0o700)
    caches = []
    for content in (b"one", b"two"):
        (tmp_path / "kernel/btf/vmlinux").write_bytes(content)
        caches.append(open_cache(said.append, tmp_path / "cache", tmp_path))
        caches[-1].write_build(BUILD_FACTS._replace(symbols={"oom_kill_process": (1, len(caches))}))

    assert [cache.read_build().symbols["oom_kill_process"] for cache in caches] == [(1, 1), (1, 2)]
    assert said == []


def test_a_closed_cache_leaves_no_file_open(cache):
    fds = set(Path("/proc/self/fd").iterdir())
    cache.close()

    assert len(fds - set(Path("/proc/self/fd").iterdir())) == 1


def test_damaged_facts_are_refused_with_one_message(cache, tmp_path, said):
    cache.write_build(BUILD_FACTS)
    (path,) = (tmp_path / "cache").glob("*.kernel")
    flip(path)

    assert cache.read_build() is None
    assert len(said) == 1
