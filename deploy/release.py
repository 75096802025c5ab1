# SPDX-License-Identifier: Apache-2.0
"""What is built has the version of the Python package, of CHANGELOG.md and of the tag.

    python3 -m deploy.release version    the version of a package of this tree
    python3 -m deploy.release epoch      the date of this tree, in seconds since 1970
    python3 -m deploy.release changelog  debian/changelog
    python3 -m deploy.release check TAG  fails if version, changelog and tag do not agree

The date is SOURCE_DATE_EPOCH, else that of the last commit, else that of the changelog's section of this version.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from datetime import datetime, timezone
from email.utils import format_datetime
from pathlib import Path

from ooMtrace import __version__

ROOT = Path(__file__).parents[1]
MAINTAINER = re.compile(r"^Maintainer: (.+)$", re.MULTILINE)
SECTION = re.compile(r"^## (\d+\.\d+\.\d+) - (\d{4}-\d\d-\d\d)$", re.MULTILINE)
UNRELEASED = re.compile(r"^## Unreleased\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)


def releases(changelog: str) -> dict[str, str]:
    """Return the versions that the changelog has a section of, and their dates, the newest first."""
    return dict(SECTION.findall(changelog))


def has_unreleased_changes(changelog: str) -> bool:
    """Say whether anything has changed since the last release."""
    return any(section.strip() for section in UNRELEASED.findall(changelog))


def epoch(root: Path = ROOT) -> int:
    """Return the date of a tree, in seconds since 1970."""
    if given := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(given)
    if (root / ".git").exists():  # a repository around an unpacked archive has another date
        command = ["git", "-C", str(root), "log", "-1", "--format=%ct"]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    if date := releases((root / "CHANGELOG.md").read_text()).get(__version__):
        return int(datetime.fromisoformat(f"{date}T00:00:00+00:00").timestamp())
    sys.exit("this tree is neither a git checkout nor a release: set SOURCE_DATE_EPOCH to its date")


def package_version(changelog: str, date: datetime, version: str = __version__) -> str:
    """Return the version of a package; of two trees that are no releases, the later one has the higher version.

    Args:
        changelog: The text of CHANGELOG.md. Before the release of `version` the result sorts before it (`~`), and after
            it, as long as the version is not increased, after it (`+`).
        date: That of the tree.
        version: That of the Python package.
    """
    if version in releases(changelog) and not has_unreleased_changes(changelog):
        return version
    return f"{version}{'+' if version in releases(changelog) else '~'}{date:%Y%m%d%H%M%S}"


def debian_changelog(version: str, date: datetime, maintainer: str) -> str:
    """Return debian/changelog, with one entry: what has changed is in CHANGELOG.md."""
    change = f"oomtrace ({version}-1) unstable; urgency=medium\n\n  * See /usr/share/doc/oomtrace/changelog.gz."
    return f"{change}\n\n -- {maintainer}  {format_datetime(date)}"


def obstacles(tag: str, changelog: str, version: str = __version__) -> list[str]:
    """Return why a tree cannot be released with a tag, each reason with what to do; empty: it can."""
    found = []
    if tag != f"v{version}":
        found.append(f"the version is {version} and the tag is {tag or 'missing'}: run `git tag --sign v{version}`")
    if next(iter(releases(changelog)), None) != version:
        found.append(f"CHANGELOG.md does not begin with {version}: add `## {version} - DATE` below `## Unreleased`")
    if has_unreleased_changes(changelog):
        found.append(f"CHANGELOG.md has unreleased changes: move them to the section of {version}")
    return found


def main(action: str, tag: str = "") -> None:
    """Print what was asked for, or exit with what is wrong."""
    changelog = (ROOT / "CHANGELOG.md").read_text()
    if action == "check":
        found = obstacles(tag, changelog)
        sys.exit("\n".join(["this is no release:", *found]) if found else 0)
    date = datetime.fromtimestamp(epoch(), timezone.utc)
    version = package_version(changelog, date)
    maintainer = MAINTAINER.findall((ROOT / "deploy/debian/control").read_text())[0]
    answers = {
        "epoch": str(int(date.timestamp())),
        "version": version,
        "changelog": debian_changelog(version, date, maintainer),
    }
    sys.stdout.write(f"{answers[action]}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
