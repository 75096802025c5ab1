#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Run a command in a root tree: inside.sh ROOT SHARE USER HOSTNAME CGROUP COMMAND...
# To be run in a mount namespace of its own (`unshare --mount`), with which all that is mounted here vanishes. The tree
# itself stays as it is: only /srv, which is the folder SHARE, can be written to and is kept. An empty HOSTNAME or
# CGROUP means that of the caller.
set -eu
root=$1 share=$2 user=$3 hostname=$4 cgroup=$5
shift 5
[ -z "$hostname" ] || echo "$hostname" >/proc/sys/kernel/hostname
# a machine that is itself the tree keeps its root as it is
[ "$root" = / ] || mount --bind -o ro "$root" "$root"
# before /tmp is another one, for there it may be
mount --bind "$share" "$root/srv"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/dev/shm"
mount -t tmpfs tmpfs "$root/tmp"
mount -t proc proc "$root/proc"
# who starts it may have put itself out of the OOM killer's reach
echo 0 >/proc/self/oom_score_adj
# 0 is the writer itself, whatever its number is
[ -z "$cgroup" ] || echo 0 >"$cgroup/cgroup.procs"
# it does not outlive the one who started it; set last, for a change of user undoes it
exec chroot --userspec="$user" "$root" setpriv --pdeathsig KILL "$@"
