# SPDX-License-Identifier: Apache-2.0
"""What the compiler reads as root lies where nobody else can put something else in its place."""

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
    folder = tmp_path / "fallback"
    folder.mkdir(0o700)
    monkeypatch.setattr(stub_headers, "TEMPORARY", (str(tmp_path / "not there"), str(folder)))
    return folder


def chosen(monkeypatch: pytest.MonkeyPatch, temporary: Path) -> Path:
    monkeypatch.setenv("TMPDIR", str(temporary))
    with header_tree("6.1.0") as tree:
        assert stat.S_IMODE(tree.stat().st_mode) == 0o700
        assert (tree / "include/linux/version.h").read_text().startswith("#define LINUX_VERSION_CODE 393472\n")
    assert not tree.exists()
    return tree.parent


@pytest.mark.parametrize("mode", [0o700, 0o755, 0o1777, 0o1770])
def test_a_folder_where_nobody_can_replace_ours_is_taken(tmp_path, monkeypatch, fallback, mode):
    (tmp_path / "t").mkdir()
    (tmp_path / "t").chmod(mode)

    assert chosen(monkeypatch, tmp_path / "t") == tmp_path / "t"


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o757])
def test_a_folder_where_others_could_replace_ours_is_not(tmp_path, monkeypatch, fallback, mode):
    (tmp_path / "t").mkdir()
    (tmp_path / "t").chmod(mode)
    (tmp_path / "t/below").mkdir()
    (tmp_path / "link").symlink_to("t/below")

    for name in ("t", "t/below", "link"):
        assert chosen(monkeypatch, tmp_path / name) == fallback


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to somebody else")
@pytest.mark.parametrize("mode", [0o700, 0o1777])
def test_a_folder_of_somebody_else_is_not(tmp_path, monkeypatch, fallback, mode):
    (tmp_path / "t").mkdir()
    (tmp_path / "t").chmod(mode)
    os.chown(tmp_path / "t", NOBODY, NOBODY)

    assert chosen(monkeypatch, tmp_path / "t") == fallback


def test_a_folder_that_is_not_there_is_not(tmp_path, monkeypatch, fallback):
    assert chosen(monkeypatch, tmp_path / "nowhere") == fallback


def test_without_a_safe_folder_nothing_is_compiled(tmp_path, monkeypatch, fallback):
    fallback.chmod(0o777)

    with pytest.raises(ProbeError) as caught:
        chosen(monkeypatch, tmp_path / "nowhere")

    assert str(caught.value) == "no folder for temporary files is safe; set TMPDIR to one that only you may write to"
