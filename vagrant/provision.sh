#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Prepares a machine with apt or dnf for oomtrace and its scenarios, from the source tree that this file is in. As root:
# vagrant/provision.sh. A second run does what is still missing; where nothing is, it needs neither packages nor network.
set -eu
umask 022
tree=$(cd "$(dirname "$0")/.." && pwd -P)
python=/usr/bin/python3 # the distribution's: BCC is packaged for it
library=/usr/local/lib/oomtrace
bin=/usr/local/bin
policy=/usr/sbin/policy-rc.d
sources='ooMtrace bpf requirements pyproject.toml README.md LICENSE'
manager=$(for name in apt-get dnf; do command -v $name >/dev/null && echo $name && break; done) || manager=none
scratch=
prepared=false # the package manager
changed=false  # anything

fail() {
    echo "provision.sh: $1" >&2
    exit 1
}

clean() {
    [ -z "$scratch" ] || rm -rf "$scratch"
    [ ! -e $policy.oomtrace ] || rm -f $policy $policy.oomtrace
}

check_python() { # RHEL 9 has 3.9, and its python3-bcc is for that one
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
        fail "this distribution's Python is $version, oomtrace needs 3.10: take Debian 12, Ubuntu 22.04, RHEL 10 or later"
}

# Looks for the program itself and does not ask the package manager: it need not have come in a package.
has() {
    case $1 in
    bcc) "$python" -I -c 'import bcc' ;;
    venv) "$python" -I -c 'import ensurepip, venv' ;;
    compiler) echo '#include <pthread.h>' | cc -E - ;;
    sidekiq) command -v redis-server && command -v sidekiq ;;
    postgresql) command -v postgres || ls /usr/lib/postgresql/*/bin/postgres ;;
    busybox) command -v busybox && ! ldd "$(command -v busybox)" ;; # the container has no libraries
    *) command -v "$1" ;;
    esac >/dev/null 2>&1
}

# The names for dnf were looked up, not tested. RHEL has busybox in EPEL only, and does without.
packages_of() {
    case $manager:$1 in
    apt-get:bcc) echo python3-bpfcc ;;
    apt-get:venv) echo python3-venv ;;
    apt-get:compiler) echo gcc libc6-dev ;;
    apt-get:sidekiq) echo redis-server ruby-sidekiq ;;
    apt-get:busybox) echo busybox-static ;;
    dnf:bcc) echo python3-bcc ;;
    dnf:venv) echo python3 python3-pip ;;
    dnf:compiler) echo gcc glibc-devel ;;
    dnf:sidekiq) ;; # no distribution with dnf has it
    dnf:postgresql) echo postgresql-server ;;
    *) echo "$1" ;;
    esac
}

install_packages() { # without recommended packages; all output goes to stderr
    case $manager in
    # a machine that has just booted runs its own updates, and Ubuntu restarts services after an install
    apt-get)
        DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 \
            apt-get install -qq -y --no-install-recommends -o DPkg::Lock::Timeout=300 "$@"
        ;;
    dnf) dnf install -q -y --setopt=install_weak_deps=False "$@" ;;
    esac >&2
}

prepare() { # once, before the first package
    [ $prepared = false ] || return 0
    prepared=true
    [ "$manager" != none ] || fail "$1 is missing, and there is neither apt-get nor dnf to install it"
    [ "$manager" = apt-get ] || return 0
    apt-get update -qq >&2 || echo "packages: apt-get update failed: using the lists that are there"
    # Debian starts a service as it is installed, unless this program forbids it
    [ -e $policy ] || {
        touch $policy.oomtrace
        printf '#!/bin/sh\nexit 101\n' >$policy
        chmod 755 $policy
    }
}

provide() { # provide required|optional WHAT
    ! has "$2" || return 0
    packages=$(packages_of "$2")
    if [ -z "$packages" ]; then
        echo "packages: this distribution has no $2: skipped"
        return 0
    fi
    prepare "$2"
    echo "packages: installing $packages"
    before=$(enabled)
    # shellcheck disable=SC2086 # a list of words
    if install_packages $packages && has "$2"; then
        changed=true
    elif [ "$1" = required ]; then
        fail "$2 could not be installed: oomtrace needs it"
    else
        echo "packages: $packages could not be installed: skipped, some scenarios will not work"
    fi
    silence "$before"
}

enabled() { # the units that are started at boot, in one line
    find /etc/systemd/system -type l -path '*.wants/*' 2>/dev/null | tr '\n' ' '
}

silence() { # disable the units that an install has enabled: the scenarios start their own servers
    for wanted in $(enabled); do
        case " $1" in *" $wanted "*) continue ;; esac
        unit=${wanted##*/}
        if [ -d /run/systemd/system ]; then
            systemctl disable --quiet --now "$unit" >&2 || {
                echo "services: $unit was brought along, and could not be disabled"
                continue
            }
        else
            rm -f "$wanted" # what `systemctl disable` does; systemd may not be installed
        fi
        echo "services: $unit was brought along, and is neither running nor enabled"
    done
}

checksum() { # of what is installed, and of the Python that it is installed for
    echo "$version"
    # shellcheck disable=SC2086
    (cd "$tree" && find $sources -type f ! -path '*/__pycache__/*' -exec sha256sum {} + | LC_ALL=C sort | sha256sum)
}

install_oomtrace() {
    wanted=$(checksum)
    if [ -x "$library/bin/oomtrace" ] && [ "$wanted" = "$(cat "$library/installed-tree" 2>/dev/null)" ]; then
        echo "oomtrace: $library is up to date"
        return
    fi
    echo "oomtrace: installing $tree into $library"
    changed=true
    rm -f "$library/installed-tree"
    "$python" -m venv --system-site-packages "$library"
    # a build writes into the tree, which may be another user's or read-only
    scratch=$(mktemp -d)
    for part in $sources; do
        cp -R "$tree/$part" "$scratch/"
    done
    chmod -R a+rX "$scratch"
    install_with_pip ||
        fail "pip could not install oomtrace: its index must have what requirements/ names, with the same hashes"
    echo "$wanted" >"$library/installed-tree"
}

install_with_pip() { # root runs what is installed here: all that pip fetches is pinned by hash
    set -- "$library/bin/pip" install --quiet --disable-pip-version-check
    "$@" --require-hashes -r "$scratch/requirements/build.txt" -r "$scratch/requirements/runtime.txt" >&2 &&
        "$@" --no-deps --no-build-isolation "$scratch" >&2
}

link() {
    [ "$(readlink "$bin/$1")" != "$2" ] || return 0
    echo "link: $bin/$1 is $2"
    changed=true
    mkdir -p "$bin"
    ln -sfn "$2" "$bin/$1"
}

mount_tracefs() {
    if grep -q ' /sys/kernel/tracing tracefs ' /proc/mounts; then
        echo "tracefs: is mounted"
    elif mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null; then
        echo "tracefs: mounted at /sys/kernel/tracing"
        changed=true
    else
        echo "tracefs: could not be mounted at /sys/kernel/tracing: level \`minimal\` is not available"
    fi
}

[ "$(id -u)" = 0 ] || fail "needs root: sudo $0"
for part in $sources vagrant/oomtrace-scenario; do
    [ -e "$tree/$part" ] || fail "there is no $part in $tree: this file must be in vagrant/ of the whole source tree"
done
trap clean EXIT
trap 'exit 1' HUP INT TERM
[ ! -e "$python" ] || check_python # before anything is installed

for what in bcc venv compiler; do
    provide required $what
done
check_python
for what in sidekiq postgresql podman busybox numactl; do
    provide optional $what
done
[ $prepared = true ] || echo "packages: all installed"
install_oomtrace
link oomtrace "$library/bin/oomtrace"
link oomtrace-scenario "$tree/vagrant/oomtrace-scenario"
mount_tracefs
[ $changed = true ] || echo "nothing had to be changed"
echo "next: sudo $bin/oomtrace demo, and in a machine that is meant for it: sudo $bin/oomtrace-scenario --list"
