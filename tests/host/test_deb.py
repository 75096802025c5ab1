# SPDX-License-Identifier: Apache-2.0
"""The Debian package has what it should have; `make test-deb` also installs it in Debian 12 and 13."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.machine import CHECKOUT, HOST_SYS, Machine, machine
from support.roots import DOCUMENTS, Recipe, root

SUITES = ("bookworm", "trixie")
TOOLS = ("debhelper", "dh-python", "fish", "lintian", "make", "man-db", "mandoc", "python3", "rpm", "rpmlint", "zsh")
BUILD = "umask {umask}; export SOURCE_DATE_EPOCH={epoch} TZ={zone}; {tree}/deploy/build-deb /srv/wheels /srv/{name}"
# not in an override, which is an error for a lintian that does not know the tag: the unit is for systemd only
ACCEPTED = {"package-supports-alternative-init-but-no-init.d-script"}
EPOCH = 1_790_000_000
# the first run also makes the root trees
pytestmark = pytest.mark.timeout(1800)
by_hand = pytest.mark.skipif("OOMTRACE_TEST_PACKAGES" not in os.environ, reason="takes minutes: run `make test-deb`")


def contents(package: Path) -> dict[str, str]:
    """Return the files of a package, with their modes and owners."""
    listed = subprocess.run(["dpkg-deb", "--contents", package], capture_output=True, text=True, check=True).stdout
    rows = (line.split(maxsplit=5) for line in listed.splitlines())
    return {name.removeprefix("."): f"{mode} {owner}" for mode, owner, _, _, _, name in rows if mode[0] != "d"}


def test_the_package_has_all_files_and_starts_nothing(tmp_path):
    if shutil.which("dpkg-deb") is None:
        pytest.skip("this is not Debian")
    subprocess.run(["make", "--silent", "-C", CHECKOUT, "deb", f"DIST={tmp_path}"], check=True, capture_output=True)
    (package,) = tmp_path.glob("*.deb")

    files = contents(package)

    library = Path("/usr/lib/oomtrace/ooMtrace")
    modules = {library / path.relative_to(CHECKOUT / "ooMtrace") for path in (CHECKOUT / "ooMtrace").rglob("*.py")}
    programs = {library / path.relative_to(CHECKOUT) for path in (CHECKOUT / "bpf").rglob("*.[ch]")}
    others = {"/usr/bin/oomtrace", "/usr/share/man/man8/oomtrace.8.gz", "/usr/share/doc/oomtrace/copyright"}
    shells = {
        "/usr/share/bash-completion/completions/oomtrace",
        "/usr/share/zsh/vendor-completions/_oomtrace",
        "/usr/share/fish/vendor_completions.d/oomtrace.fish",
    }
    assert {str(path) for path in modules | programs} | others | shells <= files.keys()
    assert {name for name in files if "__pycache__" in name or "/local/" in name} == set()
    assert set(files.values()) == {"-rw-r--r-- root/root", "-rwxr-xr-x root/root"}
    subprocess.run(["dpkg-deb", "--control", package, tmp_path / "control"], check=True)
    scripts = "".join(path.read_text() for path in (tmp_path / "control").iterdir() if path.name != "md5sums")
    assert not re.search(r"systemctl (enable|start)|invoke (start|\$)|action=start", scripts)


@pytest.fixture(scope="module", params=SUITES)
def builder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """Start a machine with the tools that build and check packages, and build the Debian package in it."""
    tools = root("oomtrace-packaging", Recipe(request.param, "minbase", TOOLS))
    with machine(request.param, tmp_path_factory.mktemp("builder"), tools) as one:
        shutil.copytree(CHECKOUT / ".venv/wheels", one.share / "wheels")
        build(one, "dist")
        yield one


def build(
    machine: Machine, name: str, tree: str = "/mnt", umask: str = "022", zone: str = "UTC", later: int = 0
) -> Path:
    """Build the package in a directory of the machine's share."""
    script = BUILD.format(umask=umask, zone=zone, tree=tree, name=name, epoch=EPOCH + later)
    output(machine, "sh", "-ec", script)
    (package,) = (machine.share / name).glob("*.deb")
    return package


def output(machine: Machine, *command: str) -> str:
    done = machine.run("env", "DEBIAN_FRONTEND=noninteractive", *command)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@by_hand
def test_the_same_tree_gives_the_same_package(builder):
    output(
        builder,
        "sh",
        "-ec",
        "umask 077; mkdir -p /root/else; cp -r /mnt/[A-Zbdo]* /root/else; find /root/else -exec touch {} +",
    )

    again = build(builder, "again", tree="/root/else", umask="077", zone="Asia/Tokyo")

    (package,) = (builder.share / "dist").glob("*.deb")
    assert again.name == package.name
    assert again.read_bytes() == package.read_bytes()


@by_hand
def test_lintian_finds_nothing(builder):
    found = output(builder, "sh", "-ec", "lintian --pedantic --display-info --fail-on=pedantic /srv/dist/*.deb")

    hints = [line for line in found.splitlines() if re.match("[EWIP]:", line)]
    assert [hint for hint in hints if hint.split()[2] not in ACCEPTED] == []


@by_hand
def test_the_man_page_has_no_faults(builder):
    output(builder, "sh", "-ec", "dpkg-deb --fsys-tarfile /srv/dist/*.deb | tar -xC /root ./usr/share/man")
    output(builder, "gunzip", "--force", "/root/usr/share/man/man8/oomtrace.8.gz")
    page = "/root/usr/share/man/man8/oomtrace.8"

    assert output(builder, "mandoc", "-T", "lint", "-W", "style", page) == ""
    shown = output(builder, "man", "--warnings", "--local-file", page)
    assert "warning" not in shown
    assert "oom.memcg.limit" in shown


@by_hand
def test_zsh_and_fish_accept_their_completions(builder):
    output(
        builder, "sh", "-ec", "dpkg-deb --fsys-tarfile /srv/dist/*.deb | tar -xC /root ./usr/share/zsh ./usr/share/fish"
    )

    output(builder, "zsh", "-n", "/root/usr/share/zsh/vendor-completions/_oomtrace")
    fish = "source /root/usr/share/fish/vendor_completions.d/oomtrace.fish; complete -C 'oomtrace {}'"
    completed = {
        typed: output(builder, "fish", "-c", fish.format(typed)) for typed in ("do", "doctor --le", "logs --su")
    }
    assert [text.split("\t")[0] for text in completed.values()] == ["doctor", "--level", "--summary"]


@by_hand
def test_the_rpm_is_built_and_rpmlint_finds_nothing(builder):
    output(builder, "sh", "-ec", f"SOURCE_DATE_EPOCH={EPOCH} /mnt/deploy/build-rpm /srv/rpm")

    files = output(builder, "sh", "-ec", "rpm -qpl /srv/rpm/*.rpm").splitlines()
    assert {"/usr/bin/oomtrace", "/usr/lib/oomtrace/ooMtrace/bpf/oomtrace.bpf.c"} <= set(files)
    checked = output(
        builder, "sh", "-c", "rpmlint -c /mnt/deploy/rpm/rpmlint.toml /srv/rpm/*.rpm /mnt/deploy/rpm/*.spec"
    )
    assert "0 errors, 0 warnings" in checked, checked


@pytest.fixture(params=SUITES)
def debian(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Machine]:
    """Start a Debian in which nothing is installed that it can do without."""
    clean = root("oomtrace-deb", Recipe(request.param, "minbase", ("apt",), DOCUMENTS[1:]))
    with machine(request.param, tmp_path, clean, HOST_SYS) as one:
        output(one, "apt-get", "update")
        yield one


def files_named_oomtrace(debian: Machine) -> set[str]:
    found = output(debian, "find", "/", "-xdev", "-name", "*oomtrace*", "-not", "-path", "/srv/*").splitlines()
    return {path for path in found if not path.startswith(("/proc/", "/var/log/apt", "/var/cache/apt"))}


@by_hand
def test_install_upgrade_remove_and_purge(builder, debian):
    for name, later in (("old", 0), ("new", 60)):
        package = build(builder, f"{name}-for-upgrade", later=later)
        shutil.copy(package, debian.share / f"{name}.deb")
        shutil.rmtree(package.parent)
    install = ("apt-get", "install", "--yes", "--no-install-recommends")

    output(debian, *install, "/srv/old.deb")
    assert "usage: oomtrace" in output(debian, "oomtrace", "--help")
    done = debian.run("oomtrace", "demo")
    assert json.loads(done.stdout)["event"] == "oom_kill", done.stderr
    assert output(debian, "python3", "-c", "from pyroute2 import IPRoute, NetlinkDecodeError, NetlinkError") == ""
    output(debian, *install, "/srv/new.deb")
    assert json.loads(debian.run("oomtrace", "demo").stdout)["event"] == "oom_kill"
    bytecode = output(
        debian, "find", "/usr/lib/oomtrace", "-newer", "/var/lib/dpkg/info/oomtrace.list", "-name", "*.pyc"
    )
    assert bytecode

    output(debian, "sh", "-ec", "mkdir -p /var/lib/oomtrace /var/log/oomtrace; touch /var/lib/oomtrace/checkpoint")
    output(debian, "apt-get", "remove", "--yes", "oomtrace")
    assert not debian.run("ls", "/usr/lib/oomtrace", "/usr/bin/oomtrace").stdout
    assert debian.run("ls", "/var/lib/oomtrace").stdout == "checkpoint\n"
    output(debian, "apt-get", "purge", "--yes", "oomtrace")
    assert files_named_oomtrace(debian) == set()
