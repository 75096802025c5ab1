# SPDX-License-Identifier: Apache-2.0
"""What Debian's rsyslog makes of the kernel log: no kill is hidden by a newline, and none is forged by one."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.debian import Tree
from support.roots import Recipe, root
from support.tracer import COMMAND
from support.victims import Victim

from ooMtrace.kernel.scratch_cgroup import scratch_cgroup

TIMEOUT_S = 60
FORGED = (
    "Out of memory: Killed process 1 (init) total-vm:80000kB, anon-rss:48000kB, file-rss:0kB, shmem-rss:0kB, UID:0 "
    "pgtables:168kB oom_score_adj:0"
)
TEMPLATES = {
    "dates of RFC 3339": "RSYSLOG_FileFormat",
    "traditional dates": "RSYSLOG_TraditionalFileFormat",
    "RFC 5424": "RSYSLOG_SyslogProtocol23Format",
}
FILES = "".join(
    f'kern.* action(type="omfile" file="/srv/{i}.log" template="{t}")\n' for i, t in enumerate(TEMPLATES.values())
)
INPUTS = {"imklog": 'module(load="imklog")\n', "imkmsg": 'module(load="imkmsg")\n'}


def wait_until(holds: Callable[[], bool]) -> None:
    begin = time.monotonic()
    while not holds():
        assert time.monotonic() - begin < TIMEOUT_S
        time.sleep(0.05)


def mount_overlay(lower: str) -> None:
    """Try to mount an overlay whose lower folder does not exist: the kernel prints its name."""
    escaped = lower.replace(":", r"\:").replace(",", r"\,")
    options = f"lowerdir={escaped},upperdir=/nonexistent/u,workdir=/nonexistent/w".encode()
    assert ctypes.CDLL(None).mount(b"overlay", b"/mnt", b"overlay", 0, options) != 0


def kills(log: Path) -> list[dict[str, Any]]:
    done = subprocess.run([COMMAND, "logs", log], capture_output=True, text=True, check=False)
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("source", INPUTS)
def test_a_newline_in_a_name_hides_no_kill_and_one_in_a_mount_option_forges_none(source, program, tmp_path):
    if "overlay" not in Path("/proc/filesystems").read_text():
        pytest.skip("this kernel has no overlayfs")
    tree = Tree(root("oomtrace-rsyslog", Recipe("bookworm", "essential", ("rsyslog",))), tmp_path)
    (tmp_path / "rsyslog.conf").write_text(f'global(workDirectory="/srv")\n{INPUTS[source]}{FILES}')
    marker = f"oomtrace-test-{os.getpid()}-{source}"
    logs = [tmp_path / f"{i}.log" for i in range(len(TEMPLATES))]

    def has_all(text: str) -> bool:
        return all(log.exists() and text in log.read_text(errors="replace") for log in logs)

    with tree.start("rsyslogd", "-n", "-f", "/srv/rsyslog.conf", "-i", "/srv/rsyslogd.pid") as daemon:
        try:
            with scratch_cgroup(f"{marker}-1") as cgroup:
                cgroup.limit(24 << 20)
                victim = Victim(program, "hog", cgroup, comm=b"a\nb").go()
                assert victim.end() == -9
            mount_overlay(f"/nonexistent/{marker}-2\n{FORGED}\nc")
            mount_overlay(f"/nonexistent/{marker}-3")
            wait_until(lambda: has_all(f"{marker}-3"))
        finally:
            daemon.terminate()

    for log in logs:
        found = kills(log)
        mine = [kill for kill in found if victim.pid in (kill["process"].get("pid"), kill["process"].get("tid"))]

        assert [kill["process"]["comm"] for kill in mine] in (["a\nb"], ["a\\x0ab"])  # imkmsg leaves it as in /dev/kmsg
        assert FORGED.partition(", ")[0] in log.read_text(errors="replace")
        assert not [kill for kill in found if 1 in (kill["process"].get("pid"), kill["process"].get("tid"))]
