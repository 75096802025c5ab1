# SPDX-License-Identifier: Apache-2.0
"""Version, changelog and tag agree."""

from __future__ import annotations

import subprocess
from datetime import datetime, timezone
from pathlib import Path

from packaging.version import Version

from deploy.release import debian_changelog, obstacles, package_version, releases
from ooMtrace import __version__

ROOT = Path(__file__).parents[2]
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
DATE = datetime(2026, 11, 28, 12, tzinfo=timezone.utc)
RELEASED = "# Changelog\n\n## Unreleased\n\n## 1.2.0 - 2026-11-28\n\n- new\n\n## 1.1.0 - 2026-10-01\n\n- old\n"
CHANGED = RELEASED.replace("## Unreleased\n", "## Unreleased\n\n- newer\n")


def test_the_version_is_that_of_the_changelog_or_a_later_one():
    newest = next(iter(releases(CHANGELOG)), "0")

    assert Version(__version__) >= Version(newest)


def test_a_tag_of_the_commit_is_that_of_the_version():
    git = ["git", "-C", str(ROOT), "tag", "--points-at", "HEAD", "v*"]
    tags = subprocess.run(git, capture_output=True, text=True, check=False).stdout.split()

    assert [problem for tag in tags for problem in obstacles(tag, CHANGELOG)] == []


def test_a_release_needs_its_tag_its_section_and_no_other_changes():
    assert obstacles("v1.2.0", RELEASED, "1.2.0") == []
    assert len(obstacles("", RELEASED, "1.2.0")) == 1
    assert len(obstacles("v1.1.0", RELEASED, "1.1.0")) == 1
    assert len(obstacles("v1.2.0", CHANGED, "1.2.0")) == 1
    assert len(obstacles("v1.3.0", RELEASED, "1.3.0")) == 1


def test_the_version_of_a_package_sorts_before_and_after_that_of_the_release():
    assert package_version(RELEASED, DATE, "1.2.0") == "1.2.0"
    assert package_version(CHANGED, DATE, "1.2.0") == "1.2.0+20261128120000"
    assert package_version(CHANGED, DATE, "1.3.0") == "1.3.0~20261128120000"


def test_the_debian_changelog_has_the_version_and_the_date():
    text = debian_changelog("1.2.0", DATE, "A <a@b.invalid>")

    assert text.startswith("oomtrace (1.2.0-1) unstable; urgency=medium\n")
    assert text.endswith("\n -- A <a@b.invalid>  Sat, 28 Nov 2026 12:00:00 +0000")
