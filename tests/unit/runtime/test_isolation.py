# SPDX-License-Identifier: Apache-2.0
"""What the caller's environment may change in a process that runs as root."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent.parent
REPORT = """
import json, os, sys, time
from ooMtrace.runtime.isolation import isolate
isolate()
umask = os.umask(0)
print(json.dumps([dict(os.environ), sys.path, umask, os.getcwd(), time.tzname]))
"""


class Seen:
    """What a process sees once it is isolated."""

    def __init__(self, script: str = REPORT, *flags: str, **options: Any) -> None:
        env = {"PYTHONPATH": str(ROOT)} | options.pop("env", {})
        command = [sys.executable, *flags, "-c", script]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=env, **options)
        self.environment, self.path, self.umask, self.directory, self.zone = json.loads(done.stdout)


def test_only_variables_that_are_used_are_kept():
    kept = {"TMPDIR": "/x", "TZ": "UTC1", "LANG": "C", "LC_TIME": "C", "COLUMNS": "80", "STATE_DIRECTORY": "/y"}
    kept |= {"NOTIFY_SOCKET": "/z", "WATCHDOG_PID": "1", "WATCHDOG_USEC": "2"}
    kept |= {"NODE_NAME": "n", "KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}
    dropped = {
        **{"LD_PRELOAD": "", "LD_LIBRARY_PATH": "/x", "PYTHONSTARTUP": "/x", "PYTHONHASHSEED": "1", "HOME": "/x"},
        **{"BCC_SYMFS": "/x", "CPATH": "/x", "C_INCLUDE_PATH": "/x", "BASH_ENV": "/x", "IFS": "/", "PATH": "/x:."},
    }

    seen = Seen(env={**kept, **dropped})

    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    seen.environment.pop("LC_CTYPE", None)  # Python's own: PEP 538
    assert seen.environment == {**kept, "PATH": path, "HOME": "/"}


@pytest.mark.parametrize(("before", "after"), [(0, 0), (0o022, 0o022), (0o777, 0o077), (0o700, 0)])
def test_the_owner_can_always_use_what_is_created(before, after):
    assert Seen(umask=before).umask == after


def test_a_removed_directory_is_left(tmp_path):
    (tmp_path / "gone").mkdir()
    script = f"import os; os.rmdir({str(tmp_path / 'gone')!r})\n{REPORT}"

    assert Seen(script, cwd=tmp_path / "gone").directory == "/"
    assert Seen(cwd=tmp_path).directory == str(tmp_path)


@pytest.mark.parametrize(
    ("zone", "used"),
    [("AAAA99999999999BBBB", "UTC"), ("AAA24", "UTC"), ("AAA-24", "UTC"), ("AAA23", "AAA")],
)
def test_a_time_zone_that_dates_cannot_have_is_not_used(zone, used):
    assert Seen(env={"TZ": zone}).zone[0] == used


@pytest.mark.skipif(os.geteuid() != 0, reason="only root leaves out what an ordinary user has added")
def test_an_installed_package_does_not_load_modules_of_the_user(tmp_path):
    """pip's own command does not start Python with -I."""
    library = tmp_path / "lib"
    shutil.copytree(ROOT / "ooMtrace", library / "ooMtrace", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "user").mkdir()
    installed = f"import site; site.getsitepackages = lambda: [{str(library)!r}]\n{REPORT}"
    env = {"PYTHONPATH": f"{library}:{tmp_path}/user:relative", "HOME": str(tmp_path)}

    seen = Seen(installed, env=env, cwd=tmp_path)

    assert str(library) in seen.path
    assert not {str(tmp_path / "user"), str(tmp_path), "", "relative", str(tmp_path / "relative")} & set(seen.path)


def test_a_checkout_is_for_developers_whose_modules_are_loaded(tmp_path):
    assert str(tmp_path) in Seen(env={"PYTHONPATH": f"{ROOT}:{tmp_path}"}).path
