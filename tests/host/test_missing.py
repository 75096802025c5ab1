# SPDX-License-Identifier: Apache-2.0
"""Hosts that lack one thing, simulated on this one: what doctor reports on each, and which levels are left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from support.tracer import COMMAND

ROOT = Path(__file__).parent.parent.parent
TIMEOUT_S = 120


def doctor(wrapper: Sequence[object] = (), *options: str, **more: Any) -> tuple[dict[str, Any], int]:
    command = [*map(str, wrapper), str(COMMAND), *options, "doctor", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False, **more)
    assert done.stderr == ""
    return json.loads(done.stdout), done.returncode


def mounted(script: str) -> list[str]:
    """Return a wrapper that changes mounts for one command only."""
    return ["unshare", "--mount", "sh", "-ec", f'{script}; exec "$@"', "sh"]


def bad(report: dict[str, Any], key: str = "checks") -> dict[str, dict[str, str]]:
    name = key.removesuffix("s") if key == "levels" else "name"
    return {one[name]: one for one in report[key] if not one["ok"]}


@pytest.fixture(scope="module")
def whole() -> dict[str, Any]:
    """Return the report on this host as it is."""
    report, code = doctor()
    assert code == 0
    return report


def assert_lacks(report: dict[str, Any], whole: dict[str, Any], *names: str) -> None:
    assert set(bad(report)) - set(bad(whole)) == set(names)


def test_without_tracefs_level_minimal_is_unavailable_and_mounting_it_is_the_remedy(whole):
    report, code = doctor(mounted("umount /sys/kernel/tracing"))

    assert code == 0
    assert_lacks(report, whole, "tracefs")
    assert bad(report)["tracefs"]["hint"] == "mount -t tracefs tracefs /sys/kernel/tracing"
    assert set(bad(report, "levels")) - set(bad(whole, "levels")) == {"minimal"}
    assert report["plan"]["level"] == whole["plan"]["level"]
    remedied, _ = doctor(mounted(f"umount /sys/kernel/tracing; {bad(report)['tracefs']['hint']}"))
    assert bad(remedied) == bad(whole)


@pytest.mark.parametrize("change", ["mount -t tmpfs tmpfs /dev", "mount --bind /dev/null /dev/kmsg"])
def test_without_a_kernel_log_only_level_log_is_unavailable(whole, change):
    report, code = doctor(mounted(change))

    assert code == 0
    assert_lacks(report, whole, "kernel_log")
    assert set(bad(report, "levels")) - set(bad(whole, "levels")) == {"log"}
    assert report["plan"] == whole["plan"]


def test_without_bcc_level_log_is_left(whole):
    hidden = mounted("mount -t tmpfs tmpfs /usr/lib/python3/dist-packages/bcc")
    report, code = doctor(hidden)

    assert code == 0
    assert_lacks(report, whole, "bcc")
    assert "apt-get install python3-bpfcc" in bad(report)["bcc"]["hint"]
    assert set(bad(report, "levels")) == {"full", "reduced", "minimal"}
    assert report["plan"]["hooks"] == ["kmsg:/dev/kmsg"]
    _, refused = doctor(hidden, "--require", "minimal")
    assert refused == 77


def test_a_bcc_without_its_library_counts_as_missing(tmp_path, whole):
    (tmp_path / "bcc").mkdir()
    (tmp_path / "bcc/__init__.py").write_text("from . import libbcc")
    (tmp_path / "bcc/libbcc.py").write_text("import ctypes; ctypes.CDLL('libnowhere.so.0')")
    report, _ = doctor(env={**os.environ, "PYTHONPATH": str(tmp_path)})

    assert_lacks(report, whole, "bcc")
    assert "libnowhere.so.0" in bad(report)["bcc"]["fact"]


def test_broken_type_information_leaves_level_minimal(tmp_path, whole):
    (tmp_path / "vmlinux").write_bytes(b"not type information")
    report, code = doctor(mounted(f"mount --bind {tmp_path}/vmlinux /sys/kernel/btf/vmlinux"))

    assert code == 0
    assert "btf" in bad(report)
    assert set(bad(report, "levels")) == {"full", "reduced"}
    assert report["plan"]["level"] == "minimal"


def test_without_visible_memory_cgroups_the_levels_are_the_same(whole):
    report, _ = doctor(mounted("umount -R /sys/fs/cgroup"))

    assert_lacks(report, whole, "cgroups")
    assert report["plan"] == whole["plan"]


def test_a_pid_namespace_of_its_own_is_reported(whole):
    report, _ = doctor(["unshare", "--pid", "--fork", "--mount-proc"])

    assert_lacks(report, whole, "pid_namespace")
    assert report["plan"] == whole["plan"]


RESTRICTED = Path("/proc/sys/kernel/dmesg_restrict").read_text() == "1\n"
HIDDEN = int(Path("/proc/sys/kernel/perf_event_paranoid").read_text()) > 1


@pytest.mark.parametrize(
    ("capabilities", "lacking", "levels"),
    [
        ("", {"capabilities", "tracefs", "kernel_log", "kallsyms"}, set()),
        ("+syslog", {"capabilities", "tracefs"}, {"log"}),
        ("+bpf,+syslog", {"capabilities", "tracefs"}, {"log"}),
        ("+bpf,+perfmon", {"tracefs", "kernel_log", "kallsyms"}, {"reduced"}),
        ("+bpf,+perfmon,+dac_read_search", {"kernel_log", "kallsyms"}, {"reduced", "minimal"}),
        ("+sys_admin,+syslog", {"tracefs"}, {"reduced", "log"}),
        ("+bpf,+perfmon,+syslog,+dac_read_search", set(), {"reduced", "minimal", "log"}),
    ],
)
@pytest.mark.skipif(not (RESTRICTED and HIDDEN), reason="any user can read the kernel log or kernel addresses here")
def test_each_capability_of_an_unprivileged_user_enables_its_levels(whole, capabilities, lacking, levels):
    only = ",".join(["-all", *filter(None, [capabilities])])
    user = "mount --bind {0} /mnt && cd / && export PYTHONPATH=/mnt"
    drop = f"setpriv --reuid=65534 --regid=65534 --clear-groups --bounding-set={only} --inh-caps={only}"
    python = f"/mnt/{Path(sys.prefix).relative_to(ROOT)}/bin/python"
    script = f"{user.format(ROOT)}; exec {drop} --ambient-caps={only} {python} -m ooMtrace doctor --json"
    done = subprocess.run(["unshare", "--mount", "sh", "-ec", script], capture_output=True, text=True, check=False)

    assert done.returncode == (0 if levels else 77), done.stderr
    report = json.loads(done.stdout)
    assert_lacks(report, whole, *lacking)
    assert {one["level"] for one in report["levels"] if one["ok"]} - {"full"} == levels
