# SPDX-License-Identifier: Apache-2.0
"""vagrant/provision.sh makes a machine ready, and has nothing to do the second time."""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.machine import PATH, Machine, machine

PROVISION = "/mnt/vagrant/provision.sh"
# Too big to install each time. That they come in no package does not matter: provision.sh looks for the program.
STAND_INS = ("cc", "postgres", "podman", "busybox")
DNF = """\
#!/bin/sh
echo "$*" >>/srv/asked
case $* in *numactl*) ln -s /bin/true /usr/local/bin/numactl ;; *) exit 1 ;; esac
"""


def write_program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def suite() -> str:
    return "bookworm"


@pytest.fixture
def debian(suite: str, tmp_path: Path) -> Iterator[Machine]:
    with machine(suite, tmp_path) as one:
        for name in STAND_INS:
            assert one.run("ln", "-s", "/srv/stand-in", f"/usr/local/bin/{name}").returncode == 0
        write_program(one.share / "stand-in", "#!/bin/sh\n")
        yield one


def provide(debian: Machine, path: str = PATH) -> list[str]:
    done = debian.run(PROVISION, path=path)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def printed(debian: Machine, *command: str) -> str:
    done = debian.run(*command)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refusal(debian: Machine, script: str = PROVISION, user: str = "root") -> str:
    done = debian.run(script, user=user)
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    return line


def listing(folder: Path) -> dict[str, tuple[int, int, str]]:
    found = {}
    for path in folder.rglob("*"):
        state = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(state.st_mode) else b""
        found[str(path)] = (state.st_mode, state.st_mtime_ns, hashlib.sha256(content).hexdigest())
    return found


@pytest.mark.parametrize("suite", ["bookworm", "trixie"])
def test_it_installs_starts_no_service_and_changes_nothing_the_second_time(debian):
    first = provide(debian)
    assert [line for line in first if line.startswith("packages:")] == [
        "packages: installing redis-server ruby-sidekiq",
        "packages: installing numactl",
    ]
    assert "services: redis-server.service was brought along, and is neither running nor enabled" in first
    assert printed(debian, "sh", "-c", "command -v redis-server")
    assert "redis" not in printed(debian, "sh", "-c", "cat /proc/[0-9]*/comm")
    assert not list(debian.written.glob("etc/systemd/system/*.wants/redis*"))
    assert not (debian.written / "usr/sbin/policy-rc.d").exists()
    assert printed(debian, "oomtrace", "--version").startswith("oomtrace ")
    assert json.loads(printed(debian, "oomtrace", "schema"))["title"]
    assert printed(debian, "readlink", "/usr/local/bin/oomtrace-scenario") == "/mnt/vagrant/oomtrace-scenario\n"
    assert "tracefs" in printed(debian, "stat", "--file-system", "--format=%T", "/sys/kernel/tracing")

    for name in ("apt-get", "dnf"):
        write_program(debian.share / "refusing" / name, "#!/bin/sh\ntouch /srv/asked\nexit 1\n")
    before = listing(debian.written)
    assert before
    second = provide(debian, f"/srv/refusing:{PATH}")

    assert "nothing had to be changed" in second
    assert listing(debian.written) == before
    assert not (debian.share / "asked").exists()


def test_a_changed_tree_is_installed_again(debian):
    printed(debian, "cp", "-r", "/mnt/vagrant", "/mnt/ooMtrace", "/mnt/bpf", "/mnt/requirements", "/srv")
    printed(debian, "cp", "/mnt/pyproject.toml", "/mnt/README.md", "/mnt/LICENSE", "/srv")
    provide(debian)
    version = debian.share / "ooMtrace/__init__.py"
    version.write_text(version.read_text().replace('__version__ = "', '__version__ = "1000.'))

    assert debian.run("/srv/vagrant/provision.sh").returncode == 0

    assert printed(debian, "oomtrace", "--version").startswith("oomtrace 1000.")
    assert not [path for path in debian.share.iterdir() if path.name in ("build", "oomtrace.egg-info")]


def test_dnf_installs_what_the_distribution_has(debian):
    printed(debian, "rm", "/usr/bin/apt-get", "/usr/local/bin/postgres")
    write_program(debian.share / "dnf", DNF)
    printed(debian, "ln", "-s", "/srv/dnf", "/usr/local/bin/dnf")

    messages = provide(debian)

    asked = (debian.share / "asked").read_text().splitlines()
    assert asked == [
        f"install -q -y --setopt=install_weak_deps=False {name}" for name in ("postgresql-server", "numactl")
    ]
    assert "packages: this distribution has no sidekiq: skipped" in messages
    assert "packages: postgresql-server could not be installed: skipped, some scenarios will not work" in messages
    assert printed(debian, "oomtrace", "--version")


def test_each_refusal_is_one_line(debian):
    assert refusal(debian, user="nobody") == f"provision.sh: needs root: sudo {PROVISION}"

    printed(debian, "cp", "-r", "/mnt/vagrant", "/srv/vagrant")
    assert "there is no ooMtrace in /srv" in refusal(debian, "/srv/vagrant/provision.sh")

    printed(debian, "rm", "/usr/bin/python3")
    write_program(debian.share / "python3.9", '#!/bin/sh\ncase "$*" in *exit*) exit 1 ;; esac\necho 3.9\n')
    printed(debian, "ln", "-s", "/srv/python3.9", "/usr/bin/python3")
    assert "Python is 3.9, oomtrace needs 3.10" in refusal(debian)
