#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Hook of mmdebstrap, after all packages: turns the root tree that is its argument into a vagrant box.
set -eu
root=$1

# The key and the passwords are those of all vagrant boxes: they are public.
chroot "$root" useradd --shell /bin/bash vagrant
printf '%s\n' vagrant:vagrant root:vagrant | chroot "$root" chpasswd
chroot "$root" chown -R vagrant:vagrant /home/vagrant
chmod 700 "$root/home/vagrant/.ssh"
chmod 600 "$root/home/vagrant/.ssh/authorized_keys"
chmod 440 "$root/etc/sudoers.d/vagrant"

chroot "$root" systemctl --quiet enable systemd-networkd systemd-resolved ssh
chroot "$root" systemctl --quiet disable systemd-networkd-wait-online redis-server postgresql
# they would run in the middle of a scenario
chroot "$root" systemctl --quiet mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \
    e2scrub_all.timer fstrim.timer podman-auto-update.timer
# each machine gets its own
: >"$root/etc/machine-id"
