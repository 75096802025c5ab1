# SPDX-License-Identifier: Apache-2.0
"""Why this Python cannot import BCC, and the command that mends it.

Distributions package BCC for their own Python only, and no package index has it: what is called `bcc` there is another
project.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

from ooMtrace.kernel.obstacles import Reason

PACKAGES = (
    ("debian", "apt-get install python3-bpfcc"),
    ("ubuntu", "apt-get install python3-bpfcc"),
    ("fedora", "dnf install python3-bcc"),
    ("rhel", "dnf install python3-bcc"),
    ("suse", "zypper install python3-bcc"),
    ("arch", "pacman -S python-bcc"),
    ("alpine", "apk add py3-bcc"),
)
"""ID or ID_LIKE in /etc/os-release, and the command that installs BCC's Python module."""

SYSTEM_PYTHON = "usr/bin/python3"
LIBRARIES = ("usr/lib/python3/dist-packages", "usr/lib/python{0}/site-packages", "usr/lib64/python{0}/site-packages")
"""Where distributions put the modules for their Python: Debian, others, others on 64-bit machines."""

MAX_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python.

    Attributes:
        version: Such as `3.11`.
        executable: Its path.
        prefix: Its directory: that of the virtual environment, if it is one.
        base: The directory of the Python that the virtual environment was made with; otherwise the same.
    """

    version: str
    executable: str
    prefix: Path
    base: Path

    def is_environment(self) -> bool:
        """Return whether it is a virtual environment."""
        return self.prefix != self.base

    def is_isolated(self) -> bool:
        """Return whether it is a virtual environment that does not see the packages of the system."""
        found = re.search(r"^include-system-site-packages\s*=\s*(\w+)", _read(self.prefix / "pyvenv.cfg"), re.MULTILINE)
        return self.is_environment() and (found is None or found[1].lower() != "true")

    def is_of_pipx(self) -> bool:
        """Return whether pipx made the virtual environment."""
        return (self.prefix / "pipx_metadata.json").exists()


def this_interpreter() -> Interpreter:
    """Return the Python that runs this."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return Interpreter(version, sys.executable, Path(sys.prefix), Path(sys.base_prefix))


def missing(me: Interpreter | None = None, root: Path = Path("/")) -> Reason:
    """Return why there is no module `bcc`, and what to do."""
    me = me or this_interpreter()
    version = system_version(root)
    if version is None:
        return Reason("BCC's Python module is not installed", _and_then(install_command(root), _use_system(me, root)))
    python = f"/{SYSTEM_PYTHON}"
    if use := _use_system(me, root):
        if _is_made_of_system(me, version):
            return Reason(f"the virtual environment {me.prefix} does not see BCC, which {python} has", use)
        return Reason(f"Python {me.version} ({me.executable}) has no BCC; {python} (Python {version}) has it", use)
    return Reason("BCC's Python module is not installed", install_command(root))


def is_unrelated(file: Path) -> bool:
    """Return whether this `bcc/__init__.py` is of another project: BCC has libbcc.py beside it."""
    return not (file.parent / "libbcc.py").exists()


def unrelated(file: Path | str, me: Interpreter | None = None, root: Path = Path("/")) -> Reason:
    """Return what to do about a module `bcc` that is not BCC."""
    me = me or this_interpreter()
    path = Path(file)
    installed = any(path.parent.parent.glob("bcc-*-info")) or any(path.parent.glob("bcc-*-info"))
    if not installed:
        return Reason(f"{file} is not BCC, and hides it", f"remove or rename {file}")
    fact = f"{file} is not BCC but the unrelated package `bcc` of PyPI"
    install = "" if system_version(root) else install_command(root)
    return Reason(fact, _and_then(f"{me.executable} -m pip uninstall bcc", install, _use_system(me, root)))


def install_command(root: Path = Path("/")) -> str:
    """Return how this distribution installs BCC."""
    text = _read(root / "etc/os-release")
    ids = " ".join(re.findall(r"^ID(?:_LIKE)?=[\"']?([^\"'\n]*)", text, re.MULTILINE)).split()
    names = (command for name, command in PACKAGES if any(each.startswith(name) for each in ids))
    return next(names, "install the package of your distribution with BCC's Python module (python3-bpfcc, python3-bcc)")


def system_version(root: Path = Path("/")) -> str | None:
    """Return the version of the distribution's Python if it has BCC."""
    version = _version_of_system(root)
    folders = (root / library.format(version) for library in LIBRARIES)
    return version if any((folder / "bcc/libbcc.py").exists() for folder in folders) else None


def _use_system(me: Interpreter, root: Path) -> str:
    """Return how to make this installation use the distribution's Python and its packages; "" if it does already."""
    python = f"/{SYSTEM_PYTHON}"
    if _is_made_of_system(me, _version_of_system(root)):
        return f"{python} -m venv --system-site-packages --without-pip {me.prefix}" if me.is_isolated() else ""
    if me.is_of_pipx():
        return f"pipx install --force --python {python} --system-site-packages oomtrace"
    if me.is_environment():
        return f"{python} -m venv --clear --system-site-packages {me.prefix}, then install oomtrace in it again"
    return f"install oomtrace for {python}: `make install` does"


def _is_made_of_system(me: Interpreter, version: str | None) -> bool:
    return me.base == Path("/usr") and version in (None, me.version)


def _version_of_system(root: Path) -> str | None:
    """Return the version of the distribution's Python, from what its name is a link to; None if there is none."""
    try:
        found = re.search(r"python([0-9]+\.[0-9]+)$", str((root / SYSTEM_PYTHON).resolve()))
    except (OSError, RuntimeError):  # a loop
        return None
    return found[1] if found else None


def _and_then(*commands: str) -> str:
    return ", then: ".join(command for command in commands if command)


def _read(path: Path) -> str:
    """Read at most 64 KiB of a text file; "" if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
