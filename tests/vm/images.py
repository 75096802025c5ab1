# SPDX-License-Identifier: Apache-2.0
"""Userland images: a Debian root file system with oomtrace's venv, on an ext4 disk."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from .architecture import Architecture
from .debs import source_line
from .host import HarnessError, output_of, published
from .matrix import Userland

PID_1 = Path(__file__).with_name("guest") / "init"
# Kernels find the root by this partition id, because the names of NVMe disks can swap at boot.
DISK_ID = "6f6f6d74"
ROOT_PARTUUID = f"{DISK_ID}-01"
VENV = "/opt/oomtrace"
# room for a swap file, core dumps and whatever a scenario writes
SPARE_MB = 768
SCRATCH = "scratch-"
UNUSED_AFTER_S = 14 * 24 * 3600
# What every Debian system has: nothing selects these where no package is configured.
ESSENTIAL = (
    *("base-files", "base-passwd", "bash", "bsdutils", "coreutils", "dash", "diffutils", "findutils", "grep", "gzip"),
    *("hostname", "libc-bin", "login", "mawk", "mount", "passwd", "sed", "tar", "util-linux"),
)
# A mirror may be a snapshot: the index of unstable expires within days. It is signed nevertheless.
APT_OPTIONS = ('--aptopt=Apt::Install-Recommends "false"', '--aptopt=Acquire::Check-Valid-Until "false"')
UNWANTED = ("/usr/share/man/*", "/usr/share/locale/*", "/usr/share/doc/*")


def build(userland: Userland, architecture: Architecture, cache: Path) -> Path:
    """Return the userland's disk image for an architecture from the cache, or build it there."""
    image = cache / "images" / f"{userland.name}-{architecture.name}-{_key(userland)}.img"
    if not image.exists():
        if os.geteuid() != 0:
            raise HarnessError(f"building the {userland.name} image needs root (chroot): use sudo")
        with (
            published(image) as draft,
            TemporaryDirectory(prefix=SCRATCH, dir=image.parent) as scratch,
        ):
            root = Path(scratch) / "root"
            if architecture.is_native:
                _bootstrap(userland, architecture, root)
                _install_venv(userland, architecture, root, Path(scratch) / "wheels")
            else:
                _extract(userland, architecture, root)
                _lay_out_venv(userland, architecture, root, Path(scratch) / "wheels")
            _add_init(root)
            _write_disk(root, draft)
    os.utime(image)
    _drop_unused(image.parent)
    return image


def _key(userland: Userland) -> str:
    built_from = repr(userland).encode() + Path(__file__).read_bytes() + PID_1.read_bytes()
    return hashlib.sha256(built_from).hexdigest()[:12]


def _drop_unused(folder: Path) -> None:
    for leftover in folder.glob(f"{SCRATCH}*"):
        # of a run that was killed: this one holds the lock and is done with its own
        shutil.rmtree(leftover)
    for image in folder.glob("*.img"):
        if time.time() - image.stat().st_mtime > UNUSED_AFTER_S:
            image.unlink(missing_ok=True)


def _bootstrap(userland: Userland, architecture: Architecture, root: Path) -> None:
    output_of(
        [
            "mmdebstrap",
            "--mode=root",
            "--variant=minbase",
            "--format=directory",
            f"--include={','.join(userland.packages)}",
            *APT_OPTIONS,
            *(f"--dpkgopt=path-exclude={pattern}" for pattern in UNWANTED),
            userland.suite,
            root,
            source_line(userland.suite, architecture),
        ]
    )


def _extract(userland: Userland, architecture: Architecture, root: Path) -> None:
    """Unpack the packages of a foreign architecture: their scripts cannot run here, and little of them is needed."""
    # bookworm's packages still have files in /bin and the like; from trixie on base-files has the links
    hook = ["--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr"] if userland.suite == "bookworm" else []
    output_of(
        [
            *("mmdebstrap", "--mode=root", "--variant=extract", "--format=directory"),
            f"--architectures={architecture.name}",
            f"--include={','.join([*ESSENTIAL, *userland.packages])}",
            *APT_OPTIONS,
            *(f"--dpkgopt=path-exclude={pattern}" for pattern in UNWANTED),
            *hook,
            userland.suite,
            root,
            source_line(userland.suite, architecture),
        ]
    )
    for name in ("passwd", "group"):  # as base-passwd's script does
        shutil.copy(root / f"usr/share/base-passwd/{name}.master", root / "etc" / name)
    (root / "usr/bin/awk").symlink_to("mawk")  # as update-alternatives does
    # as the script of ca-certificates does: pip loads them even with --no-index
    certificates = sorted((root / "usr/share/ca-certificates").rglob("*.crt"))
    bundle = root / "etc/ssl/certs/ca-certificates.crt"
    bundle.write_bytes(b"".join(file.read_bytes() for file in certificates))


def _fetch_wheels(userland: Userland, architecture: Architecture, target: Path) -> None:
    fetch = [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:", "--no-deps"]
    platform = ["--python-version", userland.python, "--platform", f"manylinux_2_17_{architecture.machine}"]
    output_of([*fetch, *platform, "--dest", target, *userland.wheels])


def _lay_out_venv(userland: Userland, architecture: Architecture, root: Path, wheels: Path) -> None:
    """Make what `python3 -m venv` makes, without the guest's Python: links, pyvenv.cfg, and the wheels unpacked."""
    _fetch_wheels(userland, architecture, wheels)
    venv = root / VENV.removeprefix("/")
    packages = venv / f"lib/python{userland.python}/site-packages"
    packages.mkdir(parents=True)
    (venv / "bin").mkdir()
    for name in ("python", "python3"):
        (venv / "bin" / name).symlink_to("/usr/bin/python3")
    (venv / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = true\n")
    for wheel in (*wheels.glob("*.whl"), *(root / "usr/share/python-wheels").glob("pip-*.whl")):
        shutil.unpack_archive(wheel, packages, "zip")


def _install_venv(userland: Userland, architecture: Architecture, root: Path, wheels: Path) -> None:
    """Make the venv with the guest's own Python; the wheels are fetched here, outside."""
    _fetch_wheels(userland, architecture, wheels)
    inside = root / "opt" / "wheels"
    shutil.copytree(wheels, inside)
    output_of(["chroot", root, "python3", "-m", "venv", "--system-site-packages", VENV])
    install = [f"{VENV}/bin/pip", "install", "--quiet", "--no-index", "--find-links", "/opt/wheels"]
    output_of(["chroot", root, *install, *userland.wheels])
    shutil.rmtree(inside)


def _add_init(root: Path) -> None:
    target = root / "sbin" / "vm-init"
    shutil.copy(PID_1, target)
    target.chmod(0o755)
    # mmdebstrap leaves the builder's name and resolver; a guest has its own and no network
    (root / "etc" / "hostname").write_text("oomtrace-vm\n")
    (root / "etc" / "hosts").write_text("127.0.0.1 localhost oomtrace-vm\n")
    (root / "etc" / "fstab").write_text("")


def _write_disk(root: Path, disk: Path) -> None:
    """Write one ext4 partition with the tree in it: no loop device and no mount."""
    used = int(output_of(["du", "--summarize", "--block-size=1M", root]).split()[0])
    # a tenth more for ext4's own tables
    size_mb = used + used // 10 + SPARE_MB
    with disk.open("wb") as file:
        file.truncate((size_mb + 2) << 20)
    layout = disk.with_name(f"{disk.name}.layout")
    layout.write_text(f"label: dos\nlabel-id: 0x{DISK_ID}\nstart=1MiB,size={size_mb}MiB,type=83\n")
    output_of(["sh", "-c", 'sfdisk --quiet "$0" <"$1"', disk, layout])
    layout.unlink()
    features = ["-O", "^has_journal", "-E", "offset=1048576,lazy_itable_init=1"]
    output_of(["mke2fs", "-q", "-F", "-t", "ext4", *features, "-d", root, disk, f"{size_mb}m"])
