# SPDX-License-Identifier: Apache-2.0
"""The compiler reads the stub headers as root: they are in a directory where no other user can replace them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from ooMtrace.errors import ProbeError
from ooMtrace.probe import stub_headers
from ooMtrace.probe.stub_headers import header_tree

NOBODY = 65534


@pytest.fixture
def fallback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "fallback"
    directory.mkdir(0o700)
    monkeypatch.setattr(stub_headers, "FALLBACK_DIRS", (str(tmp_path / "not there"), str(directory)))
    return directory


def directory_of_headers(monkeypatch: pytest.MonkeyPatch, temporary: Path) -> Path:
    monkeypatch.setenv("TMPDIR", str(temporary))
    with header_tree("6.1.0") as tree:
        assert stat.S_IMODE(tree.stat().st_mode) == 0o700
        assert (tree / "include/linux/version.h").read_text().startswith("#define LINUX_VERSION_CODE 393472\n")
    assert not tree.exists()
    return tree.parent


@pytest.mark.parametrize("mode", [0o700, 0o755, 0o1777, 0o1770])
def test_a_directory_where_no_other_user_can_replace_ours_is_used(tmp_path, monkeypatch, fallback, mode):
    (tmp_path / "t").mkdir()
    (tmp_path / "t").chmod(mode)

    assert directory_of_headers(monkeypatch, tmp_path / "t") == tmp_path / "t"


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o757])
def test_a_directory_where_another_user_could_replace_ours_is_not_used(tmp_path, monkeypatch, fallback, mode):
    (tmp_path / "t").mkdir()
    (tmp_path / "t").chmod(mode)
    (tmp_path / "t/below").mkdir()
    (tmp_path / "link").symlink_to("t/below")

    for name in ("t", "t/below", "link"):
        assert directory_of_headers(monkeypatch, tmp_path / name) == fallback


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change the owner of a directory")
@pytest.mark.parametrize("mode", [0o700, 0o1777])
def test_a_directory_of_another_user_is_not_used(tmp_path, monkeypatch, fallback, mode):
    (tmp_path / "t").mkdir()
    (tmp_path / "t").chmod(mode)
    os.chown(tmp_path / "t", NOBODY, NOBODY)

    assert directory_of_headers(monkeypatch, tmp_path / "t") == fallback


def test_a_missing_directory_is_not_used(tmp_path, monkeypatch, fallback):
    assert directory_of_headers(monkeypatch, tmp_path / "nowhere") == fallback


def test_without_a_safe_directory_compiling_fails(tmp_path, monkeypatch, fallback):
    fallback.chmod(0o777)

    with pytest.raises(ProbeError) as caught:
        directory_of_headers(monkeypatch, tmp_path / "nowhere")

    assert str(caught.value) == "no safe directory for temporary files; set TMPDIR to one that only you can write to"


@pytest.mark.parametrize(
    ("release", "code"),
    [
        ("6.1.0-18-amd64", 0x060100),
        ("6.12.117+deb13-cloud-amd64", 0x060C75),
        ("4.19.325", 0x0413FF),
        ("7.3", 0x070300),
        ("unknown", 0x050A00),
    ],
)
def test_the_version_is_in_three_bytes_of_which_none_overflows(release, code):
    assert f"LINUX_VERSION_CODE {code}\n" in stub_headers.version_h(release)
