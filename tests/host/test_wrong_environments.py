# SPDX-License-Identifier: Apache-2.0
"""Environments in which something is missing, made for real: one line names the cause and the remedy."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from support.tracer import COMMAND

from ooMtrace.kernel.perf_syscall import SYSCALL

ROOT = Path(__file__).parents[2]
SITE = Path(sys.prefix) / f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
PYTHON = "/usr/bin/python3"
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
VERSION = "import sys; print(sys.version_info[:2])"
BCC = "import json; from ooMtrace.probe.bcc import bcc_problem; print(json.dumps(bcc_problem()))"
Contained = Callable[..., list[str]]
RESTRICTED = Path("/proc/sys/kernel/dmesg_restrict").read_text() == "1\n"


def run(*command: object, code: int | None = 0) -> str:
    """Return what it prints on both streams."""
    done = subprocess.run(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert code is None or done.returncode == code, done.stdout
    return done.stdout


def mounted(script: str) -> list[str]:
    """Return a wrapper that changes mounts for one command only."""
    return ["unshare", "--mount", "sh", "-ec", f'{script}; exec "$@"', "sh"]


def anywhere(*drop: str) -> list[str]:
    """Return the command of this checkout for a user who may not enter the folders above it."""
    python = f"/mnt/{Path(sys.prefix).relative_to(ROOT)}/bin/python"
    return [*mounted(f"mount --bind {ROOT} /mnt; cd /; export PYTHONPATH=/mnt"), *drop, python, "-m", "ooMtrace"]


def first_line(command: Sequence[object], code: int | None = 0) -> str:
    return run(*command, "doctor", "--quick", code=code).splitlines()[0]


@pytest.mark.skipif(not RESTRICTED, reason="any user can read the kernel log here")
def test_without_root_that_one_cause_is_named_once():
    report = run(*anywhere(*NOBODY), "doctor", code=77)

    assert report.splitlines()[0] == (
        "works: nothing: not root; as root, `sudo oomtrace doctor` shows what this host offers"
    )
    assert " NO " not in report
    assert report.count("root") <= 3
    assert run(*anywhere(*NOBODY), code=77).endswith("; run as root: sudo oomtrace\n")


@pytest.mark.parametrize(
    ("capabilities", "remedy"),
    [
        ("-all,+syslog", "grant CAP_BPF and CAP_PERFMON: "),
        ("-all,+bpf,+syslog", "grant CAP_PERFMON: "),
    ],
)
def test_root_without_the_capabilities_for_bpf_is_asked_for_those_that_are_missing(capabilities, remedy):
    wrapper = ("setpriv", f"--bounding-set={capabilities}", "--inh-caps=-all")

    assert f" -> {remedy}" in first_line([*wrapper, COMMAND])
    with subprocess.Popen([*wrapper, COMMAND], stderr=subprocess.PIPE, text=True) as tracer:
        assert tracer.stderr
        started = tracer.stderr.readline()
        tracer.terminate()
    assert started.startswith("oomtrace: tracing at level log (loading BPF programs requires ")
    assert remedy in started


@pytest.mark.skipif(not RESTRICTED, reason="any user can read the kernel log here")
def test_root_without_any_capability_is_asked_for_all_at_once():
    line = first_line(["setpriv", "--bounding-set=-all", "--inh-caps=-all", COMMAND], code=77)

    assert " -> grant CAP_BPF, CAP_PERFMON and CAP_SYSLOG: " in line


def test_in_a_user_namespace_leaving_it_is_the_remedy():
    line = first_line(["unshare", "--user", "--map-root-user", COMMAND], code=None)

    assert "capabilities do not count for BPF in a user namespace -> leave the user namespace" in line


CONTAINERS = {
    "kubernetes": "echo '# Kubernetes-managed hosts file.' >/run/hosts; mount --bind /run/hosts /etc/hosts",
    "docker": "touch /.dockerenv",
    "podman": "touch /run/.containerenv",
}
IMAGE = """\
mount -t tmpfs tmpfs "$1"
cd "$1"
mkdir upper work root
mount -t overlay -o lowerdir=/,upperdir=upper,workdir=work overlay root
for each in proc sys dev tmp; do mount --rbind /$each root/$each; done
mount -t tmpfs tmpfs root/run
inside=$2
shift 2
exec chroot root sh -ec "$inside"'; exec "$@"' sh "$@"
"""
"""Runs a command with an overlay of this machine as its root directory, and with the files of a container runtime."""


@pytest.fixture
def contained(tmp_path: Path) -> Contained:
    """Return a function that returns a wrapper: the command runs as in a container of this kind."""

    def wrapper(container: str, script: str = ":") -> list[str]:
        inside = f"{CONTAINERS[container]}; {script}"
        return ["unshare", "--mount", "sh", "-ec", IMAGE, "sh", str(tmp_path), inside]

    return wrapper


@pytest.mark.parametrize(
    ("container", "hint"),
    [
        ("kubernetes", "set capabilities.add: [BPF, PERFMON] in the container's securityContext"),
        ("docker", "start the container with --cap-add=BPF --cap-add=PERFMON"),
        ("podman", "start the container with --cap-add=BPF --cap-add=PERFMON"),
    ],
)
def test_in_a_container_without_the_capabilities_its_own_setting_is_named(contained, container, hint):
    drop = ("setpriv", "--bounding-set=-all,+syslog", "--inh-caps=-all")

    assert first_line([*contained(container), *drop, COMMAND]).endswith(f" -> {hint}")


@pytest.mark.parametrize(
    ("container", "hint"),
    [
        ("kubernetes", "mount the host's into the container: hostPath /sys/kernel/tracing, readOnly"),
        ("docker", "start the container with --volume=/sys/kernel/tracing:/sys/kernel/tracing:ro"),
    ],
)
def test_in_a_container_without_tracefs_its_own_setting_is_named(contained, container, hint):
    wrapper = contained(container, "umount /sys/kernel/tracing")
    checks = json.loads(run(*wrapper, COMMAND, "doctor", "--quick", "--json"))["checks"]

    assert {row["name"]: row["hint"] for row in checks}["tracefs"] == hint


@pytest.mark.parametrize(
    ("container", "mount"),
    [
        ("kubernetes", "mount the host's into the container: hostPath /sys/kernel/btf, readOnly"),
        ("docker", "start the container with --volume=/sys/kernel/btf:/sys/kernel/btf:ro"),
    ],
)
def test_in_a_container_without_type_information_its_own_setting_is_named(contained, container, mount):
    wrapper = contained(container, "mount -t tmpfs tmpfs /sys/kernel/btf")
    checks = json.loads(run(*wrapper, COMMAND, "doctor", "--quick", "--json"))["checks"]

    hint = {row["name"]: row["hint"] for row in checks}["btf"]
    assert hint == f"{mount}; if the host has none, boot a kernel built with CONFIG_DEBUG_INFO_BTF=y"


@pytest.mark.parametrize(
    ("container", "hint"),
    [
        ("kubernetes", ""),
        ("docker", "start the container with --device=/dev/kmsg:/dev/kmsg:r"),
    ],
)
def test_in_a_container_without_the_kernel_log_its_own_setting_is_named(contained, container, hint):
    wrapper = contained(container, "mount -t tmpfs tmpfs /dev")
    checks = json.loads(run(*wrapper, COMMAND, "doctor", "--quick", "--json"))["checks"]

    assert {row["name"]: row["hint"] for row in checks}["kernel_log"] == hint


FORBID = """\
import ctypes, os, struct, sys
call, error, *command = sys.argv[1:]
code = (0x20, 0, 0, 0), (0x15, 0, 1, int(call)), (0x06, 0, 0, 0x50000 | int(error)), (0x06, 0, 0, 0x7FFF0000)
code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *each) for each in code))
program = ctypes.create_string_buffer(struct.pack("HP", 4, ctypes.addressof(code)))
sys.exit("prctl") if ctypes.CDLL(None).prctl(22, 2, program, 0, 0) else os.execvp(command[0], command)
"""
"""Runs a command with a seccomp filter that gives this error to a system call, and allows all others."""
CALLS = {"bpf": {"x86_64": 321, "aarch64": 280}, "perf_event_open": SYSCALL}
SET_PARANOID = "on the host: sysctl kernel.perf_event_paranoid=2; otherwise it takes CAP_SYS_ADMIN"


@pytest.mark.parametrize(
    ("container", "call", "error", "hint"),
    [
        (
            None,
            "bpf",
            errno.EPERM,
            "allow bpf(2): SystemCallFilter=@system-service bpf perf_event_open of a systemd unit",
        ),
        (None, "perf_event_open", errno.EPERM, "allow perf_event_open(2): SystemCallFilter="),
        (None, "perf_event_open", errno.EACCES, SET_PARANOID),
        (
            "kubernetes",
            "bpf",
            errno.EPERM,
            "set securityContext.seccompProfile.type: Unconfined in the container's spec",
        ),
        ("docker", "perf_event_open", errno.EPERM, "start the container with --security-opt seccomp=unconfined"),
        ("docker", "perf_event_open", errno.EACCES, SET_PARANOID),
    ],
)
def test_where_a_system_call_is_forbidden_that_setting_is_named(contained, container, call, error, hint):
    """EACCES is what Debian's kernels answer at kernel.perf_event_paranoid=3 without CAP_SYS_ADMIN."""
    number = CALLS[call].get(os.uname().machine)
    if number is None:
        pytest.skip("the number of the system call on this machine is not known")
    wrapper = [*(contained(container) if container else ()), PYTHON, "-c", FORBID, str(number), str(error)]

    line = first_line([*wrapper, COMMAND])

    assert line.startswith("works: level log")
    assert f" -> {hint}" in line


def test_choom_is_not_suggested_where_it_cannot_work():
    drop = ("choom", "-n", "0", "--", "setpriv", "--bounding-set=-sys_resource", "--inh-caps=-all")

    with subprocess.Popen([*drop, COMMAND, "--level", "log"], stderr=subprocess.PIPE, text=True) as tracer:
        assert tracer.stderr
        said = tracer.stderr.readline() + tracer.stderr.readline()
        tracer.terminate()

    assert "; CAP_SYS_RESOURCE is withheld here: start it from systemd with OOMScoreAdjust=-1000\n" in said
    assert "choom" not in said


def test_in_a_pid_namespace_of_its_own_sharing_the_hosts_is_the_remedy(contained):
    wrapper = contained("kubernetes")
    line = first_line(["unshare", "--pid", "--fork", "--mount-proc", *wrapper, COMMAND])

    assert "missed: " in line
    assert "what /proc has of victims" in line


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    """Return a virtual environment as pip makes use of it: isolated, with oomtrace and what it needs."""
    made = tmp_path / "venv"
    run(PYTHON, "-m", "venv", "--without-pip", made)
    site = next(made.glob("lib/python*/site-packages"))
    for name in ("orjson", "pyroute2"):
        shutil.copytree(SITE / name, site / name)
    (site / "oomtrace.pth").write_text(f"{ROOT}\n")
    return made


def test_an_isolated_environment_is_named_and_the_command_mends_it(venv):
    oomtrace = [venv / "bin/python", "-m", "ooMtrace"]
    fact = f"the virtual environment {venv} does not see BCC, which {PYTHON} has"
    command = f"{PYTHON} -m venv --system-site-packages --without-pip {venv}"

    assert first_line(oomtrace).endswith(f" -> {command}")
    with subprocess.Popen(oomtrace, stderr=subprocess.PIPE, text=True) as tracer:
        assert tracer.stderr
        assert tracer.stderr.readline() == f"oomtrace: tracing at level log ({fact}: {command}); Ctrl-C ends\n"
        tracer.terminate()
    run(*command.split())
    assert first_line(oomtrace).startswith(first_line([COMMAND]))


def test_the_unrelated_package_of_that_name_is_recognized(venv):
    """As pip installs it: the package with its metadata beside it."""
    site = next(venv.glob("lib/python*/site-packages"))
    (site / "bcc").mkdir()
    (site / "bcc/__init__.py").write_text("__version__ = '0.1.10'\n")
    (site / "bcc-0.1.10.dist-info").mkdir()
    (site / "bcc-0.1.10.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: bcc\nVersion: 0.1.10\n")
    run(PYTHON, "-m", "venv", "--system-site-packages", "--without-pip", venv)

    line = first_line([venv / "bin/python", "-m", "ooMtrace"])

    assert line.endswith(f" -> {venv}/bin/python -m pip uninstall bcc")
    shutil.rmtree(site / "bcc")
    assert first_line([venv / "bin/python", "-m", "ooMtrace"]).startswith(first_line([COMMAND]))


def other_python() -> str | None:
    """Return a Python of another version than the system's: one that was built, or another package."""
    system = run(PYTHON, "-c", VERSION)
    folders = [*os.environ["PATH"].split(":"), *map(str, Path.home().glob(".pyenv/versions/3.*/bin"))]
    found = (Path(folder) / f"python3.{minor}" for folder in folders for minor in range(10, 16))
    for python in filter(os.path.exists, found):
        done = subprocess.run(
            [python, "-c", "import sys; print(sys.version_info[:2])"], capture_output=True, check=False
        )
        if done.returncode == 0 and done.stdout.decode() != system:
            return str(python)
    return None


OTHER = other_python()


@pytest.mark.skipif(OTHER is None, reason="there is only one Python")
def test_another_interpreter_is_told_which_one_has_bcc():
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([str(OTHER), "-c", BCC], env=env, capture_output=True, text=True, check=True)
    fact, hint = json.loads(done.stdout)

    assert re.fullmatch(r"Python 3\.\d+ \(\S+\) has no BCC; /usr/bin/python3 \(Python 3\.\d+\) has it", fact)
    assert hint == "install oomtrace for /usr/bin/python3: `make install` does"


@pytest.mark.skipif(OTHER is None, reason="there is only one Python")
def test_an_environment_of_another_interpreter_is_to_be_made_again_and_that_helps(tmp_path):
    run(OTHER, "-m", "venv", "--without-pip", tmp_path / "venv")
    env = {**os.environ, "PYTHONPATH": str(ROOT)}

    def problem() -> list[str] | None:
        done = subprocess.run(
            [tmp_path / "venv/bin/python", "-c", BCC], env=env, capture_output=True, text=True, check=True
        )
        return json.loads(done.stdout)

    _, hint = problem() or ("", "")
    command, _, rest = hint.partition(", ")

    assert rest == "then install oomtrace in it again"
    run(*command.split(), "--without-pip")
    assert problem() is None
