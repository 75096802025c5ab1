# SPDX-License-Identifier: Apache-2.0
"""The installed command: start, stop, output, and every way in which it can be started wrongly."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import re
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from support.dialogue import wait_until
from support.fuse import SilentFile
from support.tracer import COMMAND, RunningTracer, repairs, victim_of

ROOT = Path(__file__).parent.parent.parent
TIMEOUT_S = 60


def run(*command: object, **more: Any) -> subprocess.CompletedProcess[str]:
    words = [str(part) for part in command]
    return subprocess.run(words, capture_output=True, text=True, timeout=TIMEOUT_S, check=False, **more)


def assert_one_line(stderr: str) -> None:
    assert "Traceback" not in stderr
    assert re.fullmatch(r"oomtrace: [^\n]+\n", stderr), stderr


def test_demo_prints_one_valid_line(validate):
    done = run(COMMAND, "demo")

    assert done.returncode == 0, done.stderr
    line = json.loads(done.stdout)
    assert done.stdout.count("\n") == 1
    validate(line)
    assert line["oom"]["verdict"] == "killed"
    assert line["oom"]["scope"] == "memcg"
    assert re.fullmatch(r"/oomtrace-demo-\d+", line["oom"]["memcg"]["path"])
    assert line["oom"]["memcg"]["limit"] == 32 << 20
    points = line["oom"]["points"]
    assert points["total"] == points["rss"] + points["swap"] + points["page_tables"] + points["adj"]
    assert line["fidelity"] in ("reduced", "full")
    assert not list(Path("/sys/fs/cgroup").glob("**/oomtrace-demo-*"))


def test_pretty_indents_the_line():
    done = run(COMMAND, "--pretty", "demo")

    assert json.loads(done.stdout)["event"] == "oom_kill"
    assert done.stdout.count("\n") > 20


def test_ctrl_c_drains_and_exits_0(tmp_path, cgroup, victim):
    """The line is still held when Ctrl-C comes: its victim cannot run, and its context is awaited for 25 seconds."""
    limited = cgroup(48)
    with SilentFile(tmp_path) as silent, RunningTracer(tmp_path, "--timeout-factor", "100") as tracer:
        process = victim("reader", limited, 32, env={b"VICTIM_FILE": bytes(silent.path)}).go()
        assert process.said() == "holding"
        silent.wait_for_reader()
        victim("hog", limited, 24).go()
        wait_until(lambda: limited.oom_kills() > 0)
        time.sleep(1)
        assert process.pid not in map(victim_of, tracer.lines())
        began = time.monotonic()
        assert tracer.stop(signal.SIGINT) == 0
        took = time.monotonic() - began
        silent.answer()

    assert took < 15
    (line,) = (line for line in tracer.lines() if victim_of(line) == process.pid)
    assert "process.executable" in line["missing"]


TIMED_OUT = 124
"""Exit code of timeout(1) if the command ended in time."""


@pytest.mark.parametrize("delay_s", [0.2, 0.5, 0.8, 1.1, 1.6])
def test_ctrl_c_ends_a_start_at_any_moment(delay_s):
    # A shell starts background jobs with SIGINT ignored, and the tests may be one.
    command = ["timeout", "--signal=INT", "--kill-after=60", str(delay_s), "env", "--default-signal=INT"]

    done = subprocess.run([*command, COMMAND, "--output", "/dev/null"], capture_output=True, text=True, check=False)

    assert done.returncode == TIMED_OUT
    assert "Traceback" not in done.stderr


def test_the_ready_file_exists_while_the_probes_are_attached(tmp_path):
    with RunningTracer(tmp_path) as tracer:
        assert (tmp_path / "ready").read_text() == f"{tracer.process.pid}\n"
    assert not (tmp_path / "ready").exists()


def test_a_ready_file_never_follows_a_link(tmp_path):
    """Nor does it truncate a file that was hard-linked to its name."""
    target, other = tmp_path / "target", tmp_path / "other"
    target.write_text("precious")
    (tmp_path / "ready").symlink_to(target)
    with subprocess.Popen([COMMAND, "--ready-file", tmp_path / "ready"], stderr=subprocess.DEVNULL) as tracer:
        wait_for_a_pid(tmp_path / "ready", tracer.pid)
        tracer.terminate()
    other.write_text("precious, too")
    (tmp_path / "ready").hardlink_to(other)
    with subprocess.Popen([COMMAND, "--ready-file", tmp_path / "ready"], stderr=subprocess.DEVNULL) as tracer:
        wait_for_a_pid(tmp_path / "ready", tracer.pid)
        tracer.terminate()

    assert (target.read_text(), other.read_text()) == ("precious", "precious, too")
    assert not (tmp_path / "ready").exists()


def test_a_ready_file_does_not_replace_a_device(tmp_path):
    os.mknod(tmp_path / "ready", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    done = run(COMMAND, "--ready-file", str(tmp_path / "ready"))

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"oomtrace: {tmp_path}/ready: File exists; choose another --ready-file"
    assert (tmp_path / "ready").is_char_device()


def wait_for_a_pid(path: Path, pid: int) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not (path.exists() and path.read_text() == f"{pid}\n"):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_sighup_reopens_the_output(tracer, cgroup, victim):
    moved = tracer.output.rename(tracer.output.with_suffix(".1"))
    tracer.process.send_signal(signal.SIGHUP)
    process = victim("hog", cgroup(24)).go()
    while not tracer.output.exists():
        time.sleep(0.01)

    assert tracer.lines_of([process.pid])
    assert moved.read_bytes() == b""


def test_a_closed_pipe_ends_the_tracer_without_a_message(cgroup, victim):
    with subprocess.Popen([COMMAND], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as tracer:
        assert tracer.stdout
        assert tracer.stderr
        (level,) = re.findall(r"tracing at level (\w+)", tracer.stderr.readline())
        process = victim("hog", cgroup(24)).go()
        process.end()
        lines = [json.loads(tracer.stdout.readline())]
        while victim_of(lines[-1]) != process.pid:  # other processes may die, too
            lines.append(json.loads(tracer.stdout.readline()))
        assert repairs(lines, level) == []
        tracer.stdout.close()
        assert tracer.wait(TIMEOUT_S) == 0
        # printed at the start where CAP_SYS_RESOURCE is missing
        assert re.fullmatch(r"(oomtrace: the OOM killer may kill oomtrace, too [^\n]+\n)?", tracer.stderr.read())


def test_stdout_has_nothing_but_lines(cgroup, victim):
    with subprocess.Popen([COMMAND], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as tracer:
        assert tracer.stderr
        tracer.stderr.readline()
        victim("hog", cgroup(24)).go().end()
        time.sleep(0.5)
        tracer.terminate()
        output, _ = tracer.communicate()
    assert all(json.loads(line)["schema"] == "oomtrace/1" for line in output.splitlines())
    assert output


def test_start_is_fast_and_the_resident_set_is_small(tmp_path, record_property):
    began = time.monotonic()
    with RunningTracer(tmp_path) as tracer:
        seconds = time.monotonic() - began
        status = Path(f"/proc/{tracer.process.pid}/status").read_text()
    found = re.search(r"VmRSS:\s*(\d+) kB", status)
    assert found
    resident = int(found[1]) / 1024
    record_property("seconds_to_ready", seconds)
    record_property("resident_mib", resident)
    print(f"ready after {seconds:.2f} s, {resident:.0f} MiB resident")
    assert seconds < 10  # ten times what it takes: other processes run here, too
    assert resident < 60


def test_without_root_one_message_names_the_remedy():
    script = f"""
        mount --bind {ROOT} /mnt && cd / &&
        PYTHONPATH=/mnt exec setpriv --reuid=65534 --regid=65534 --clear-groups \
            /mnt/{Path(sys.prefix).relative_to(ROOT)}/bin/python -m ooMtrace
    """
    done = run("unshare", "--mount", "sh", "-c", script)

    assert done.returncode == 77
    assert_one_line(done.stderr)
    assert "sudo oomtrace" in done.stderr


@pytest.mark.parametrize("content", ["raise ImportError", "answer = 42"])
def test_a_module_that_hides_bcc_is_named(tmp_path, content):
    (tmp_path / "bcc.py").write_text(content)
    done = run(COMMAND, "--require", "minimal", env={**os.environ, "PYTHONPATH": str(tmp_path)})

    assert done.returncode == 77
    assert_one_line(done.stderr)
    assert f"{tmp_path}/bcc.py is not BCC, and hides it; remove or rename" in done.stderr


@pytest.mark.parametrize("option", ["--output", "--ready-file"])
def test_a_file_that_cannot_be_written_is_named(option):
    done = run(COMMAND, option, "/nowhere/file")

    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("oomtrace: /nowhere/file: No such file or directory;")


@pytest.mark.parametrize("content", [b"", b"not type information", b"\x9f\xeb\x01\x00" + b"\xff" * 60])
def test_broken_type_information_disables_the_levels_that_need_it_and_no_others(tmp_path, content):
    broken = tmp_path / "vmlinux"
    broken.write_bytes(content)
    mount = f"mount --bind {broken} /sys/kernel/btf/vmlinux && exec {COMMAND}"

    refused = run("unshare", "--mount", "sh", "-c", f"{mount} --require reduced")
    assert refused.returncode == 77
    assert_one_line(refused.stderr)
    assert "/sys/kernel/btf/vmlinux" in refused.stderr

    lowered = run("unshare", "--mount", "sh", "-c", f"{mount} demo")
    assert lowered.returncode == 0
    assert json.loads(lowered.stdout)["fidelity"] == "minimal"
    assert "level minimal (kernel type information is unavailable: " in lowered.stderr


def test_a_closed_stdout_is_refused():
    done = run("sh", "-c", f"exec {COMMAND} >&-")

    assert done.returncode == 2
    assert done.stderr == "oomtrace: stdout is closed; name a file with --output\n"


def test_with_all_standard_files_closed_the_output_is_complete(tmp_path):
    output = tmp_path / "lines"
    done = run("sh", "-c", f"exec {COMMAND} --output {output} demo <&- >&- 2>&-")

    assert done.returncode == 0
    assert json.loads(output.read_text())["event"] == "oom_kill"


def test_a_level_above_the_chosen_one_cannot_be_required():
    done = run(COMMAND, "--level", "minimal", "--require", "reduced")

    assert done.returncode == 77
    assert_one_line(done.stderr)


def test_doctor_reports_level_and_kernel():
    done = run(COMMAND, "doctor")

    assert done.returncode == 0
    assert os.uname().release in done.stdout
    assert "raw_tracepoint:mark_victim" in done.stdout
    report = json.loads(run(COMMAND, "doctor", "--json").stdout)
    assert report["plan"]["level"] in ("reduced", "full")
    assert report["features"]["release"] == os.uname().release


def test_nothing_stays_in_the_kernel_after_kill_9(tmp_path):
    tracer = RunningTracer(tmp_path)
    tracer.__enter__()
    infos = [info.read_text() for info in Path(f"/proc/{tracer.process.pid}/fdinfo").iterdir()]
    loaded = {int(found) for info in infos for found in re.findall(r"^prog_id:\s*(\d+)$", info, re.MULTILINE)}
    assert len(loaded) > 1
    assert all(map(_is_loaded, loaded))
    tracer.process.kill()
    tracer.process.wait()
    wait_until(lambda: not any(map(_is_loaded, loaded)))


BPF = {"x86_64": 321, "aarch64": 280}[os.uname().machine]
BPF_PROG_GET_NEXT_ID = 11


def _is_loaded(program: int) -> bool:
    """Say whether the kernel has a BPF program with this id, whichever process holds it."""
    attributes = (ctypes.c_uint32 * 3)(program - 1)  # start_id, next_id, open_flags
    libc = ctypes.CDLL(None, use_errno=True)
    failed = libc.syscall(BPF, BPF_PROG_GET_NEXT_ID, ctypes.byref(attributes), ctypes.sizeof(attributes))
    assert not failed or ctypes.get_errno() == errno.ENOENT
    return not failed and attributes[1] == program
