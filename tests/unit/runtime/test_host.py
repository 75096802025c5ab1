# SPDX-License-Identifier: Apache-2.0
"""Name, boot and kernel of the machine."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest
from support.probe_events import kill

from ooMtrace import record
from ooMtrace.output.encode import encode
from ooMtrace.runtime.host import read_host


def test_the_host_has_its_name_boot_id_and_kernel(tmp_path):
    (tmp_path / "sys/kernel/random").mkdir(parents=True)
    (tmp_path / "sys/kernel/random/boot_id").write_text("12345678-9abc-4def-8123-456789abcdef\n")

    assert read_host(tmp_path) == record.Host(
        name=os.uname().nodename, boot_id="12345678-9abc-4def-8123-456789abcdef", kernel=os.uname().release
    )


@pytest.mark.parametrize(("node", "name"), [("node-1.example", "node-1.example"), ("", None), ("no\nname", None)])
def test_in_a_pod_the_host_is_the_node(tmp_path, node, name):
    assert read_host(tmp_path, {"NODE_NAME": node}).name == (name or os.uname().nodename)


def test_a_boot_id_that_cannot_be_read_is_missing(tmp_path):
    found = read_host(tmp_path)

    assert found.boot_id is None
    assert "host.boot_id" in record.missing_facts(kill(host=found))


def test_bytes_of_a_host_name_that_are_not_utf_8_are_escaped(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(nodename="box\udcff", release="6.12.0"))

    found = read_host(tmp_path)

    assert found == record.Host(name="box\\xff", kernel="6.12.0")
    assert b'"name":"box\\\\xff"' in encode(kill(host=found))
