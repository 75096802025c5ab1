# SPDX-License-Identifier: Apache-2.0
"""The installed command works without the checkout, and can be removed again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
SERVICE_FILES = ("lib/systemd/system/oomtrace.service", "etc/logrotate.d/oomtrace", "etc/oomtrace.toml")


def make(*arguments: object) -> None:
    subprocess.run(["make", "--silent", "-C", ROOT, *map(str, arguments)], check=True, capture_output=True)


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Install it once for all tests."""
    prefix = tmp_path_factory.mktemp("installed")
    make("install", f"PREFIX={prefix}")
    yield prefix / "bin/oomtrace"
    make("uninstall", f"PREFIX={prefix}")


def test_make_install_collects_below_destdir_what_works_below_prefix(tmp_path):
    stage, prefix = tmp_path / "stage", tmp_path / "prefix"
    where = (f"DESTDIR={stage}", f"PREFIX={prefix}")
    make("install", *where)
    assert not prefix.exists()

    staged = Path(f"{stage}{prefix}")
    mentions = subprocess.run(["grep", "-rlF", stage, staged], capture_output=True, text=True, check=False).stdout
    assert mentions == ""
    staged.rename(prefix)
    done = subprocess.run([prefix / "bin/oomtrace", "demo"], capture_output=True, check=True, cwd="/")
    assert json.loads(done.stdout)["event"] == "oom_kill"
    assert len([*prefix.rglob("oomtrace.bpf.c")]) == 1
    assert all((prefix / name).is_file() for name in SERVICE_FILES)
    shared = {path.name for path in (prefix / "share").rglob("*oomtrace*")}
    assert shared == {"oomtrace.8", "oomtrace", "_oomtrace", "oomtrace.fish"}

    prefix.rename(staged)
    make("uninstall", *where)
    assert [path for path in stage.rglob("*oomtrace*") if path.is_relative_to(staged)] == []


def test_make_install_puts_the_service_in_place_and_keeps_a_configuration_that_was_changed(tmp_path):
    unit, rotation, config = (tmp_path / name for name in SERVICE_FILES)

    make("install-service", f"PREFIX={tmp_path}")
    assert f"\nExecStart={tmp_path}/bin/oomtrace\n" in unit.read_text()
    assert config.read_text() == (ROOT / "deploy/oomtrace.toml").read_text()
    assert rotation.stat().st_mode & 0o777 == 0o644

    config.write_text("pretty = true\n")
    make("install-service", f"PREFIX={tmp_path}")
    assert config.read_text() == "pretty = true\n"
    make("uninstall", f"PREFIX={tmp_path}")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [config]

    config.unlink()
    make("install-service", f"PREFIX={tmp_path}")
    make("uninstall", f"PREFIX={tmp_path}")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(("prefix", "etc"), [("/usr", "/etc"), ("/usr/local", "/etc"), ("/opt/x", "/opt/x/etc")])
def test_a_prefix_of_the_system_has_its_configuration_in_etc(prefix, etc, tmp_path):
    make("install-service", f"DESTDIR={tmp_path}", f"PREFIX={prefix}")

    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {
        f"{prefix}/lib/systemd/system/oomtrace.service"[1:],
        f"{etc}/logrotate.d/oomtrace"[1:],
        f"{etc}/oomtrace.toml"[1:],
    }
    unit = (tmp_path / prefix[1:] / "lib/systemd/system/oomtrace.service").read_text()
    assert f"\nExecStart={prefix}/bin/oomtrace\n" in unit


MODULES = ("usercustomize", "sitecustomize", "orjson", "bcc", "pyroute2", "argparse", "ooMtrace")


@pytest.fixture
def user(tmp_path: Path) -> Path:
    """Return the home of a user whose modules, wherever Python may look for them, leave a trace when they are run."""
    trace = f"open({str(tmp_path / 'ran')!r}, 'a').write(__name__ + chr(10))\n"
    version = subprocess.run(
        ["/usr/bin/python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    for folder in (f".local/lib/python{version}/site-packages", "modules", "here"):
        (tmp_path / folder).mkdir(parents=True)
        for name in MODULES:
            (tmp_path / folder / f"{name}.py").write_text(trace)
    (tmp_path / "startup").write_text(trace)
    return tmp_path


@pytest.mark.parametrize("arguments", [("schema",), ("doctor",), ("demo",), ("logs",), ("--version",)])
def test_root_runs_no_module_of_the_user_whose_environment_it_has(command, user, arguments):
    env = {
        **os.environ,
        "HOME": str(user),
        "PYTHONPATH": f"{user}/modules:.:",
        "PYTHONUSERBASE": str(user / ".local"),
        "PYTHONSTARTUP": str(user / "startup"),
        "PYTHONHOME": "",
        "PYTHONINSPECT": "1",
    }

    done = subprocess.run(
        [command, *arguments], capture_output=True, check=False, cwd=user / "here", env=env, timeout=60
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout
    assert not (user / "ran").exists(), (user / "ran").read_text()


def test_the_user_of_these_tests_would_be_heard(user):
    """Without -I, the modules do run: the test above can fail."""
    env = {**os.environ, "HOME": str(user), "PYTHONPATH": str(user / "modules")}
    env.pop("PYTHONNOUSERSITE", None)  # set by the Makefile

    subprocess.run(["/usr/bin/python3", "-c", "import orjson"], check=True, env=env)

    ran = (user / "ran").read_text().split()
    assert {"sitecustomize", "usercustomize", "orjson"} <= set(ran)


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_the_compiler_and_the_victim_get_a_clean_environment(command, user):
    env = {
        **os.environ,
        "HOME": str(user),
        "LD_PRELOAD": "",
        "CPATH": str(user),
        "PATH": f"{user}:{os.environ['PATH']}",
    }
    trace = user / "trace"

    subprocess.run(
        ["strace", "-f", "-v", "-s", "4096", "-e", "trace=execve", "-o", trace, command, "demo"],
        check=True, capture_output=True, env=env,
    )  # fmt: skip

    _, *children = [line for line in trace.read_text().splitlines() if "execve(" in line and " = 0" in line]
    assert children
    for line in children:
        assert str(user) not in line
        assert '"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"' in line
