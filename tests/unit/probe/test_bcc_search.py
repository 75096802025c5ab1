# SPDX-License-Identifier: Apache-2.0
"""Why a Python has no BCC: the reason and the command, in trees that look like Debian's and Fedora's."""

from __future__ import annotations

from pathlib import Path

import pytest

from ooMtrace.probe.bcc_search import Interpreter, install_command, missing, system_version, unrelated

APT = "apt-get install python3-bpfcc"


class Host:
    """A root directory with the distribution's Python 3.11."""

    def __init__(self, root: Path, system: str = "debian") -> None:
        self.root = root
        self.put("etc/os-release", f'NAME="x"\nID={system}\n')
        self.put("usr/bin/python3.11", "")
        (root / "usr/bin/python3").symlink_to("python3.11")

    def put(self, path: str, text: str) -> Host:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)
        return self

    def with_bcc(self, folder: str = "usr/lib/python3/dist-packages") -> Host:
        return self.put(f"{folder}/bcc/libbcc.py", "")

    def venv(self, *, system: bool, version: str = "3.11", base: str = "/usr", pipx: bool = False) -> Interpreter:
        self.put("venv/pyvenv.cfg", f"home = x\ninclude-system-site-packages = {str(system).lower()}\n")
        if pipx:
            self.put("venv/pipx_metadata.json", "{}")
        prefix = self.root / "venv"
        return Interpreter(version, f"{prefix}/bin/python", prefix, Path(base))


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


SYSTEM = Interpreter("3.11", "/usr/bin/python3", Path("/usr"), Path("/usr"))
PYTHON_312 = Interpreter("3.12", "/usr/local/bin/python3.12", Path("/usr/local"), Path("/usr/local"))


@pytest.mark.parametrize(
    ("system", "command"),
    [
        ("debian", APT),
        ('raspbian\nID_LIKE="debian"', APT),
        ('"pop"\nID_LIKE="ubuntu debian"', APT),
        ("fedora", "dnf install python3-bcc"),
        ('"rocky"\nID_LIKE="rhel centos fedora"', "dnf install python3-bcc"),
        ('"opensuse-leap"\nID_LIKE="suse opensuse"', "zypper install python3-bcc"),
        ("arch", "pacman -S python-bcc"),
        ("alpine", "apk add py3-bcc"),
    ],
)
def test_each_distribution_has_its_command(tmp_path, system, command):
    assert install_command(Host(tmp_path, system).root) == command


def test_of_an_unknown_distribution_only_the_package_is_named(tmp_path):
    expected = "install the package of your distribution with BCC's Python module (python3-bpfcc, python3-bcc)"

    assert install_command(Host(tmp_path, "x").root) == install_command(tmp_path / "nothing") == expected


def test_where_the_system_has_none_it_is_to_be_installed(host):
    assert missing(SYSTEM, host.root) == ("BCC's Python module is not installed", APT)


@pytest.mark.parametrize("folder", ["usr/lib/python3/dist-packages", "usr/lib64/python3.11/site-packages"])
def test_an_isolated_environment_is_told_from_a_missing_package(host, folder):
    me = host.with_bcc(folder).venv(system=False)

    assert missing(me, host.root) == (
        f"the virtual environment {me.prefix} does not see BCC, which /usr/bin/python3 has",
        f"/usr/bin/python3 -m venv --system-site-packages --without-pip {me.prefix}",
    )


@pytest.mark.parametrize(
    ("me", "hint"),
    [
        (PYTHON_312, "install oomtrace for /usr/bin/python3: `make install` does"),
        (
            Interpreter("3.11", "/root/.pyenv/versions/3.11.7/bin/python", Path("/root/.pyenv"), Path("/root/.pyenv")),
            "install oomtrace for /usr/bin/python3: `make install` does",
        ),
    ],
)
def test_another_interpreter_is_told_which_one_has_bcc(host, me, hint):
    fact = f"Python {me.version} ({me.executable}) has no BCC; /usr/bin/python3 (Python 3.11) has it"

    assert missing(me, host.with_bcc().root) == (fact, hint)


@pytest.mark.parametrize("system", [True, False])
def test_an_environment_of_another_interpreter_is_to_be_made_again(host, system):
    me = host.with_bcc().venv(system=system, version="3.12", base="/usr/local")
    command = f"/usr/bin/python3 -m venv --clear --system-site-packages {me.prefix}"

    assert missing(me, host.root).hint == f"{command}, then install oomtrace in it again"


def test_pipx_makes_its_environment_again(host):
    me = host.with_bcc().venv(system=False, version="3.12", base="/usr/local", pipx=True)
    command = "pipx install --force --python /usr/bin/python3 --system-site-packages oomtrace"

    assert missing(me, host.root).hint == command


def test_an_isolated_environment_on_a_host_without_bcc_needs_both(host):
    me = host.venv(system=False)
    use = f"/usr/bin/python3 -m venv --system-site-packages --without-pip {me.prefix}"

    assert missing(me, host.root) == ("BCC's Python module is not installed", f"{APT}, then: {use}")


def test_the_unrelated_package_of_that_name_is_recognized(host):
    me = host.with_bcc().venv(system=True)
    site = "venv/lib/python3.11/site-packages"
    host.put(f"{site}/bcc/__init__.py", "").put(f"{site}/bcc-0.1.10.dist-info/METADATA", "")
    file = host.root / site / "bcc/__init__.py"

    assert unrelated(file, me, host.root) == (
        f"{file} is not BCC but the unrelated package `bcc` of PyPI",
        f"{me.executable} -m pip uninstall bcc",
    )


def test_without_it_an_isolated_environment_has_no_bcc_either(host):
    me = host.venv(system=False)
    site = "venv/lib/python3.11/site-packages"
    host.put(f"{site}/bcc/__init__.py", "").put(f"{site}/bcc-0.1.10.dist-info/METADATA", "")

    hint = unrelated(host.root / site / "bcc/__init__.py", me, host.root).hint

    use = f"/usr/bin/python3 -m venv --system-site-packages --without-pip {me.prefix}"
    assert hint == f"{me.executable} -m pip uninstall bcc, then: {APT}, then: {use}"


@pytest.mark.parametrize("link", ["python3", "nowhere", "python"])
def test_a_host_without_a_usable_python_has_no_version(tmp_path, link):
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "usr/bin/python3").symlink_to(link)

    assert system_version(tmp_path) is None
