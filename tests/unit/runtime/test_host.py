# SPDX-License-Identifier: Apache-2.0
"""The machine as it is named in every line."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from ooMtrace.runtime import host
from ooMtrace.runtime.host import read_host


@pytest.fixture
def uname(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    names = SimpleNamespace(nodename="box", release="6.1.0-9-amd64", version="#1 SMP", machine="x86_64")
    monkeypatch.setattr(host.os, "uname", lambda: names)
    return names


def test_name_release_and_boot_id_are_the_kernels(uname, tmp_path):
    (tmp_path / "sys/kernel/random").mkdir(parents=True)
    (tmp_path / "sys/kernel/random/boot_id").write_text("0b1c2d3e-aaaa-bbbb-cccc-0123456789ab\n")
    found = read_host(tmp_path)

    assert found.name == "box"
    assert found.kernel == "6.1.0-9-amd64"
    assert found.boot_id == "0b1c2d3e-aaaa-bbbb-cccc-0123456789ab"


def test_a_hidden_boot_id_is_unknown(uname, tmp_path):
    assert read_host(tmp_path).boot_id is None


def test_a_name_that_is_not_utf_8_can_be_encoded(uname, tmp_path):
    uname.nodename = os.fsdecode(b"b\xff\xc3\xb6x")
    name = read_host(tmp_path).name

    assert name == "b\\xff\u00f6x"
    name.encode()
