# SPDX-License-Identifier: Apache-2.0
"""OOMPolicy= of units, compared with what systemd itself makes of the same files where it is installed."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ooMtrace.enrich.systemd_unit import (
    MAX_ENTRIES,
    MAX_FILE,
    MAX_FILES,
    UNIT_DIRECTORIES,
    assignments,
    read_oom_policy,
)

ETC, RUN, USR = "etc/systemd/system", "run/systemd/system", "usr/lib/systemd/system"
SYSTEMD = Path("/lib/systemd/systemd")
NOBODY = 65534


def write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def policy(value: str, section: str = "Service") -> str:
    return f"[{section}]\nOOMPolicy={value}\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A host with systemd 252 and one unit, web.service, that says nothing of OOMs."""
    write(tmp_path / "usr/lib/systemd/libsystemd-shared-252.so", "")
    write(tmp_path / USR / "web.service", "[Unit]\nDescription=x\n[Service]\nExecStart=/bin/true\n")
    return tmp_path


def test_a_service_without_a_policy_is_stopped(root):
    assert read_oom_policy("web.service", root) == "stop"


@pytest.mark.parametrize("value", ["continue", "stop", "kill"])
def test_the_unit_file_states_the_policy(root, value):
    write(root / USR / "web.service", policy(value))

    assert read_oom_policy("web.service", root) == value


def test_a_unit_file_in_etc_replaces_the_one_in_usr(root):
    write(root / USR / "web.service", policy("kill"))
    write(root / ETC / "web.service", policy("continue"))

    assert read_oom_policy("web.service", root) == "continue"


def test_the_last_drop_in_by_name_counts_whatever_its_directory(root):
    write(root / ETC / "web.service.d/10-a.conf", policy("kill"))
    write(root / USR / "web.service.d/20-b.conf", policy("continue"))

    assert read_oom_policy("web.service", root) == "continue"


def test_a_drop_in_replaces_one_of_the_same_name_in_a_later_directory(root):
    write(root / ETC / "web.service.d/10-a.conf", "[Service]\n")
    write(root / USR / "web.service.d/10-a.conf", policy("kill"))

    assert read_oom_policy("web.service", root) == "stop"


def test_a_masked_drop_in_has_no_effect(root):
    write(root / USR / "web.service.d/10-a.conf", policy("kill"))
    (root / ETC / "web.service.d").mkdir(parents=True)
    (root / ETC / "web.service.d/10-a.conf").symlink_to(os.devnull)

    assert read_oom_policy("web.service", root) == "stop"


@pytest.mark.parametrize("directory", ["app-.service.d", "app-web-.service.d", "service.d", "app-web-1.service.d"])
def test_drop_ins_of_prefixes_and_of_all_services_apply(root, directory):
    write(root / USR / "app-web-1.service", "[Service]\nExecStart=/bin/true\n")
    write(root / ETC / directory / "a.conf", policy("kill"))

    assert read_oom_policy("app-web-1.service", root) == "kill"


@pytest.mark.parametrize("directory", ["web@.service.d", "web@1.service.d"])
def test_an_instance_has_the_file_and_the_drop_ins_of_its_template(root, directory):
    write(root / USR / "web@.service", policy("continue"))
    assert read_oom_policy("web@1.service", root) == "continue"

    write(root / ETC / directory / "a.conf", policy("kill"))
    assert read_oom_policy("web@1.service", root) == "kill"


@pytest.mark.parametrize("value", ["yes", "memory pids", "", "1"])
def test_a_service_that_manages_its_own_cgroups_continues(root, value):
    write(root / USR / "web.service", f"[Service]\nDelegate={value}\n")

    assert read_oom_policy("web.service", root) == "continue"


def test_a_stated_policy_counts_also_with_delegation(root):
    write(root / USR / "web.service", "[Service]\nDelegate=yes\nOOMPolicy=kill\n")

    assert read_oom_policy("web.service", root) == "kill"


def test_the_default_is_that_of_the_configuration(root):
    write(root / "etc/systemd/system.conf", "[Manager]\nDefaultOOMPolicy=kill\n")
    write(root / "usr/lib/systemd/system.conf", "[Manager]\nDefaultOOMPolicy=stop\n")
    assert read_oom_policy("web.service", root) == "kill"

    write(root / "usr/lib/systemd/system.conf.d/10-x.conf", "[Manager]\nDefaultOOMPolicy=continue\n")
    assert read_oom_policy("web.service", root) == "continue"


def test_a_value_that_is_no_policy_is_ignored(root):
    write(root / USR / "web.service", policy("kill") + "OOMPolicy=panic\n")

    assert read_oom_policy("web.service", root) == "kill"


@pytest.mark.parametrize(("version", "expected"), [(None, None), (242, None), (243, "stop"), (260, "stop")])
def test_the_default_is_known_of_versions_that_have_the_setting(tmp_path, version, expected):
    write(tmp_path / USR / "web.service", "[Service]\n#\nExecStart=/bin/true\n")
    if version:
        write(tmp_path / f"usr/lib/x86_64-linux-gnu/systemd/libsystemd-shared-{version}.4-1~deb13u1.so", "")

    assert read_oom_policy("web.service", tmp_path) == expected


def test_two_versions_of_systemd_leave_the_default_open(root):
    write(root / "usr/lib/systemd/libsystemd-shared-255.so", "")

    assert read_oom_policy("web.service", root) is None


@pytest.mark.parametrize(("version", "expected"), [(252, None), (253, "stop")])
def test_scopes_have_a_policy_since_version_253(tmp_path, version, expected):
    write(tmp_path / f"usr/lib/systemd/libsystemd-shared-{version}.so", "")
    write(tmp_path / "run/systemd/transient/run-1.scope", "[Scope]\nSlice=system.slice\n")

    assert read_oom_policy("run-1.scope", tmp_path) == expected


def test_the_properties_of_a_transient_scope_are_drop_ins(root):
    write(root / "run/systemd/transient/docker-1.scope", "# This is a transient unit file\n")
    write(root / "run/systemd/transient/docker-1.scope.d/50-Delegate.conf", "[Scope]\nDelegate=yes\n")

    assert read_oom_policy("docker-1.scope", root) == "continue"


@pytest.mark.parametrize(
    "unit", ["gone.service", "a.slice", "a.mount", "web", "../web.service", "/etc/web.service", ""]
)
def test_a_unit_without_a_file_or_of_another_type_has_no_policy(root, unit):
    assert read_oom_policy(unit, root) is None


def test_a_masked_unit_has_no_policy(root):
    (root / ETC).mkdir(parents=True)
    (root / ETC / "web.service").symlink_to(os.devnull)
    assert read_oom_policy("web.service", root) is None

    (root / ETC / "web.service").unlink()
    write(root / ETC / "web.service", "")
    assert read_oom_policy("web.service", root) is None


def test_what_cannot_be_read_settles_nothing(root):
    write(root / ETC / "web.service.d/a.conf", policy("kill"))
    write(root / ETC / "web.service.d/b.conf", "#" * (MAX_FILE + 1))
    assert read_oom_policy("web.service", root) is None

    (root / ETC / "web.service.d/b.conf").unlink()
    os.mkfifo(root / ETC / "web.service.d/b.conf")
    assert read_oom_policy("web.service", root) is None


def test_too_many_drop_ins_or_prefixes_settle_nothing(root):
    write(root / USR / ("a-" * 100 + "b.service"), policy("kill"))
    assert read_oom_policy("a-" * 100 + "b.service", root) is None

    for number in range(MAX_FILES + 1):
        write(root / ETC / f"web.service.d/{number}.conf", "")
    assert read_oom_policy("web.service", root) is None


def test_a_directory_with_too_many_files_settles_nothing(root):
    for number in range(MAX_ENTRIES + 1):
        write(root / ETC / f"web.service.d/{number}", "")

    assert read_oom_policy("web.service", root) is None


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("[Service]\nA=1\n", [("A", "1")]),
        ("[Service]\n  A  =  1 2  \n", [("A", "1 2")]),
        ("A=1\n[Unit]\nA=2\n[Service]\nA=3\n[Install]\nA=4\n", [("A", "3")]),
        ("[Service]\n#A=1\n;A=2\n", []),
        ("[Service]\nA=1\\\n2\n", [("A", "1 2")]),
        ("[Service]\nA=1\\\n# x\\\n2\nB=3\n", [("A", "1 2"), ("B", "3")]),
        ("[Service]\r\nA=1\r\n", [("A", "1")]),
        ("[Service\nA=1\n", []),
        ("[Service]\nA=1\\", [("A", "1")]),
        ("[Service]\nA\n=1\n\0\n", []),
    ],
)
def test_the_syntax_is_that_of_systemd(content, expected):
    assert list(assignments(content, "Service")) == expected


def test_any_file_at_all_raises_nothing(root):
    randomness = random.Random(1)
    pieces = ["[Service]", "[", "]", "\n", "\\", "=", "OOMPolicy", "kill", "Delegate", "#", "\0", " ", "\ud7ff"]
    for _ in range(500):
        write(root / ETC / "web.service.d/a.conf", "".join(randomness.choices(pieces, k=30)))
        assert read_oom_policy("web.service", root) in ("continue", "stop", "kill", None)


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that another user may read: systemd refuses --test to root."""
    folder = Path(tempfile.mkdtemp(prefix="oomtrace-units-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def random_tree(root: Path, randomness: random.Random) -> list[str]:
    """Write units and drop-ins with random policies; return the units."""
    units = ["a.service", "a-b.service", "a-b-c.service", "t@1.service", "a-t@1.service"]
    files = [*units[:3], "t@.service", "a-t@.service"]
    folders = [
        *units,
        "t@.service",
        "a-t@.service",
        "a-.service",
        "a-b-.service",
        "a-@.service",
        "a-@1.service",
        "service",
    ]
    lines = [
        "OOMPolicy=kill",
        "OOMPolicy=stop",
        "OOMPolicy=continue",
        "OOMPolicy=x",
        "Delegate=yes",
        "Delegate=no",
        "#",
    ]

    def content(*first: str) -> str:
        return "\n".join([*first, "[Service]", *randomness.choices(lines, k=randomness.randint(0, 3)), ""])

    for name in files:
        write(root / USR / name, content("[Service]", "Type=oneshot", "ExecStart=/bin/true"))
    for _ in range(randomness.randint(0, 8)):
        folder = root / randomness.choice((ETC, RUN, USR)) / f"{randomness.choice(folders)}.d"
        write(folder / f"{randomness.choice('xyz')}.conf", content())
    write(root / USR / "all.target", "[Unit]\nWants=" + " ".join(units) + "\nDefaultDependencies=no\n")
    return units


@pytest.mark.skipif(not SYSTEMD.exists() or os.getuid() != 0, reason="compares with systemd, run as another user")
def test_systemd_itself_comes_to_the_same_policy(public):
    """Random trees of unit files, as `systemd --test` dumps the units in them."""
    for seed in range(12):
        root = public / str(seed)
        write(root / "usr/lib/systemd/libsystemd-shared-252.so", "")
        units = random_tree(root, random.Random(seed))
        path = ":".join(str(root / directory) for directory in UNIT_DIRECTORIES)
        dump = subprocess.run(
            [SYSTEMD, "--test", "--system", "--unit=all.target"],
            env={"SYSTEMD_UNIT_PATH": path, "PATH": os.environ["PATH"]},
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        ).stdout
        found = re.findall(
            r"-> Unit (\S+\.service):$(?:\n(?!-> Unit|\t?-> Unit).*)*?\n\t*OOMPolicy: (\w+)", dump, re.MULTILINE
        )

        assert {unit: read_oom_policy(unit, root) for unit in units} == {
            unit: value for unit, value in found if unit in units
        }, seed
