# SPDX-License-Identifier: Apache-2.0
"""Fetch pinned Debian packages with a private apt: the machine's mirrors, none of its state."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from .architecture import ARCHITECTURES, Architecture
from .host import HarnessError, output_of
from .matrix import Package

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
# apt's own words for "there is no such package or version", as opposed to a network failure
GONE = ("was not found", "Unable to locate package", "Couldn't find any package")


def source_line(suite: str, architecture: Architecture = ARCHITECTURES["amd64"]) -> str:
    """The apt source of a suite, on whatever mirror this machine is set up with."""
    label = "Debian-Security" if suite.endswith("-security") else "Debian"
    uri = _mirrors().get(label)
    if uri is None:
        raise HarnessError(
            f"no {label} mirror for suite {suite}: this machine's apt has none among its sources,"
            " or `apt-get update` was never run"
        )
    return f"deb [arch={architecture.name} signed-by={KEYRING}] {uri} {suite} main"


def _mirrors() -> dict[str, str]:
    listed = output_of(["apt-get", "indextargets", "--format", "$(LABEL) $(REPO_URI)", "Created-By: Packages"])
    pairs = (line.split() for line in listed.splitlines())
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}


class Archive:
    """The suites that pinned packages of an architecture come from, and a folder of the packages fetched so far."""

    def __init__(self, cache: Path, architecture: Architecture, suites: Iterable[str]) -> None:
        self._architecture = architecture
        self._home = cache / "apt" / architecture.name
        self._debs = cache / "debs"
        self._suites = sorted(set(suites))
        self._updated = False

    def fetch(self, package: Package) -> Path:
        """Return the package's file with the pinned checksum, downloading it at most once."""
        target = self._debs / f"{package.name}_{package.sha256[:16]}.deb"
        if not target.exists():
            self._update()
            self._debs.mkdir(parents=True, exist_ok=True)
            with TemporaryDirectory(dir=self._debs) as scratch:
                self._download(package, Path(scratch)).rename(target)
        return target

    def _download(self, package: Package, folder: Path) -> Path:
        wanted = f"{package.name}={package.version}"
        try:
            output_of([*self._apt("apt-get"), "download", wanted], cwd=folder)
        except HarnessError as error:
            if not any(words in str(error) for words in GONE):
                raise
            raise HarnessError(
                f"{package.name} {package.version} has left suite {package.suite} of this machine's"
                " mirror: pin another version in matrix.toml"
            ) from error
        return _checked(next(folder.glob("*.deb")), package)

    def _update(self) -> None:
        if self._updated:
            return
        for part in ("lists/partial", "cache/archives/partial"):
            (self._home / part).mkdir(parents=True, exist_ok=True)
        sources = "".join(f"{source_line(suite, self._architecture)}\n" for suite in self._suites)
        (self._home / "sources.list").write_text(sources)
        (self._home / "status").write_text("")
        output_of([*self._apt("apt-get"), "update"])
        self._updated = True

    # The machine's apt.conf.d stays in force, for it may hold a proxy; everything that apt
    # would read or write about packages is replaced. Suites that are no longer updated have
    # an expired index, which does no harm because every package is checked against its pin.
    def _apt(self, program: str) -> list[str]:
        options = {
            "Dir::Etc::sourcelist": self._home / "sources.list",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::Etc::preferences": "/dev/null",
            "Dir::Etc::preferencesparts": "/dev/null",
            "Dir::State::lists": self._home / "lists",
            "Dir::State::status": self._home / "status",
            "Dir::Cache": self._home / "cache",
            "Acquire::Check-Valid-Until": "false",
            "Acquire::Languages": "none",
            "APT::Architecture": self._architecture.name,
            "APT::Architectures": self._architecture.name,
            "APT::Sandbox::User": "root",
            "APT::Update::Error-Mode": "any",
        }
        return [program, "-q", *(f"-o{key}={value}" for key, value in options.items())]


def _checked(deb: Path, package: Package) -> Path:
    found = hashlib.sha256(deb.read_bytes()).hexdigest()
    if found != package.sha256:
        raise HarnessError(f"{package.name} {package.version} has SHA-256 {found}, not the one in matrix.toml")
    return deb
