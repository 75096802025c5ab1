# SPDX-License-Identifier: Apache-2.0
"""What is deployed with the command: the systemd unit, the logrotate file and the example of a configuration."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from ooMtrace import cli
from ooMtrace.commands import config_file
from ooMtrace.commands.config_file import configure, trace_options
from ooMtrace.runtime.capabilities import Capability, needed

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
UNIT, LOGROTATE, CONFIG = DEPLOY / "systemd/oomtrace.service", DEPLOY / "logrotate/oomtrace", DEPLOY / "oomtrace.toml"
KEYS = re.findall(r"^#([a-z-]+) = .+$", CONFIG.read_text(), re.MULTILINE)


def setting(name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", UNIT.read_text(), re.MULTILINE)


def test_the_unit_has_the_capabilities_that_are_needed_with_default_options():
    (given,) = setting("CapabilityBoundingSet")

    assert set(given.split()) == {
        f"CAP_{Capability(one).name}" for one in needed(network=True, files=False, has_bpf=True)
    }


def test_the_unit_does_not_start_again_what_cannot_work():
    assert setting("RestartPreventExitStatus") == ["2 77"]
    assert setting("Restart") == ["always"]


def test_the_log_file_of_the_example_is_where_the_unit_may_write_and_what_logrotate_rotates():
    (output,) = re.findall(r'^#output = "(.+)"$', CONFIG.read_text(), re.MULTILINE)

    assert Path(output).parent == Path("/var/log") / setting("LogsDirectory")[0]
    assert f"\n{Path(output).parent}/*.log {{\n" in LOGROTATE.read_text()
    assert "\n    copytruncate" not in LOGROTATE.read_text()


def test_the_example_has_every_option():
    assert sorted(KEYS) == sorted(trace_options())


@pytest.mark.parametrize("key", KEYS)
def test_each_option_of_the_example_is_understood(key, tmp_path):
    file = tmp_path / "c.toml"
    file.write_text(re.sub(rf"^#({key} =)", r"\1", CONFIG.read_text(), flags=re.MULTILINE))
    options = ["--config", str(file)]
    _, arguments = cli.parse(options)

    assert list(configure(arguments, options).entries) == [trace_options()[key].dest]


def test_the_example_as_it_is_changes_nothing(tmp_path):
    shutil.copy(CONFIG, tmp_path / "c.toml")

    assert config_file.read_entries(tmp_path / "c.toml", is_required=True) == {}
