#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Builds a Debian 12 box for vagrant-libvirt out of the distribution's packages: build.sh FOLDER
# Leaves debian12.box in FOLDER, for `vagrant box add --name oomtrace/debian12 FOLDER/debian12.box`. Wants root, for
# chroot, and needs no loop device. For tests only: its key and its passwords are public.
set -euo pipefail
umask 022

out=$(realpath "${1:?usage: build.sh FOLDER}")
here=$(dirname "$(realpath "$0")")
locks=$here/../../requirements
export here
suite=bookworm
boot_mb=64 spare_mb=1024
work=$(mktemp -d "$out/.build.XXXXXX")
# apt sandboxes itself as another user, which must be able to enter
chmod 755 "$work"
trap 'rm -rf "$work"' EXIT

source_line() { # LABEL SUITE: from whatever mirror this machine's own apt is set up with
    local uri
    # shellcheck disable=SC2016 # apt's own variables
    uri=$(apt-get indextargets --format '$(LABEL) $(REPO_URI)' 'Created-By: Packages' | sed -n "s/^$1 //p" | sort -u | head -n 1)
    if [ -z "$uri" ]; then
        echo "build.sh: this machine's apt has no $1 mirror among its sources, or \`apt-get update\` was never run" >&2
        exit 1
    fi
    echo "deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $uri $2 main"
}

echo "wheels"
"${PYTHON:-python3}" -m pip download --quiet --disable-pip-version-check --require-hashes --only-binary=:all: \
    --python-version 3.11 --platform manylinux_2_17_x86_64 --dest "$work/wheels" -r "$locks/build.txt" -r "$locks/runtime.txt"
export wheels_dir=$work/wheels

echo "root tree"
root=$work/root
main=$(source_line Debian "$suite")
security=$(source_line Debian-Security "$suite-security")
# The tree of files comes before the packages, which thus find how the initramfs is to be made, and make it once.
# However the build ends, neither a mount nor a process of it is left.
# shellcheck disable=SC2016 # the hooks' own $1
unshare --mount --pid --fork --kill-child --mount-proc \
    mmdebstrap --quiet --mode=root --variant=minbase --format=directory \
    --include="$(sed '/^#/d; /^$/d' "$here/packages" | paste -sd,)" \
    --aptopt='Apt::Install-Recommends "false"' \
    --dpkgopt=force-unsafe-io \
    --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/lib/postgresql/*/lib/bitcode/*' \
    --essential-hook='cp -r "$here/tree/." "$1/"' \
    --customize-hook='cp -r "$wheels_dir" "$1/opt/wheels"' \
    --customize-hook="$here/finish.sh" \
    "$suite" "$root" "$main" "$security"

echo "disk"
# a small FAT partition that syslinux boots from, and ext4 for the rest
boot=$work/boot.img
truncate -s "${boot_mb}M" "$boot"
mkfs.vfat -n BOOT "$boot" >"$work/log"
mcopy -i "$boot" "$root"/boot/vmlinuz-* ::/vmlinuz
mcopy -i "$boot" "$root"/boot/initrd.img-* ::/initrd.img
mcopy -i "$boot" "$here/syslinux.cfg" ::/syslinux.cfg
syslinux --install "$boot"

used_mb=$(du --summarize --block-size=1M "$root" | cut -f 1)
root_mb=$((used_mb + used_mb / 10 + spare_mb))
disk=$work/disk.raw
truncate -s "$((1 + boot_mb + root_mb))M" "$disk"
sfdisk --quiet "$disk" <<EOF
label: dos
start=1MiB, size=${boot_mb}MiB, type=c, bootable
start=$((1 + boot_mb))MiB, type=83
EOF
dd if=/usr/lib/syslinux/mbr/mbr.bin of="$disk" bs=440 count=1 conv=notrunc status=none
dd if="$boot" of="$disk" bs=1M seek=1 conv=notrunc,sparse status=none
mke2fs -q -F -t ext4 -L root -E "offset=$(((1 + boot_mb) << 20)),lazy_itable_init=1" -d "$root" "$disk" "${root_mb}m"

echo "box"
qemu-img convert -O qcow2 "$disk" "$work/box.img"
cp "$here/Vagrantfile.box" "$work/Vagrantfile"
printf '{"provider": "libvirt", "format": "qcow2", "virtual_size": %d}\n' $(((1 + boot_mb + root_mb + 1023) / 1024)) \
    >"$work/metadata.json"
# not compressed: it stays on this machine
tar -C "$work" --sparse -cf "$work/new.box" metadata.json Vagrantfile box.img
mv "$work/new.box" "$out/debian12.box"
