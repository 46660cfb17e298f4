#!/bin/sh
# Installs what Sluice needs and the machine lacks. Debian packages where apt and root are at hand; elsewhere it says
# what to install. Starts no service and never asks. With `test`, also what the tests need besides.
set -eu

packages=
need() { # PACKAGE COMMAND...: the package is needed unless one of the commands is there
    package=$1
    shift
    for command in "$@"; do
        if command -v "$command" >/dev/null 2>&1 || [ -x "$command" ]; then return; fi
    done
    packages="$packages $package"
}

need gcc cc
need libc6-dev /usr/include/stdio.h /usr/bin/xcrun
need redis-server redis-server /usr/bin/redis-check-rdb
if [ -z "${SLUICE_PG_BIN:-}" ] && ! ls /usr/lib/postgresql/*/bin/initdb /opt/homebrew/opt/postgresql*/bin/initdb >/dev/null 2>&1; then
    need postgresql initdb
fi

if [ "${1:-}" = test ]; then
    need g++ c++
    need python3 python3
    python3 -c 'import ensurepip, venv' >/dev/null 2>&1 || packages="$packages python3-venv"
fi

if ! command -v cargo >/dev/null 2>&1; then
    echo "Rust is not installed: install rustup, then run this again (the toolchain is pinned in rust-toolchain.toml)." >&2
    exit 1
fi
# Chromium drives the tests of the console. It is no reason to stop: where it can't be had, they are skipped and say so.
browser() {
    [ "$1" = test ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 || return 0
    for command in chromium chromium-browser google-chrome; do
        if command -v "$command" >/dev/null 2>&1; then return 0; fi
    done
    echo "installing Debian packages: chromium"
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null; } \
        || echo "Chromium could not be installed" >&2
}

# Sets the clock of a deployment under test: nor is it.
clock() {
    [ "$1" = test ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 || return 0
    if ls /usr/lib/*/faketime/libfaketime.so.1 >/dev/null 2>&1; then return 0; fi
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends libfaketime >/dev/null \
        || echo "libfaketime could not be installed" >&2
}

# Receivers that destinations are tested with: nor are they.
receivers() {
    [ "$1" = test ] || return 0
    "$(dirname "$0")/../tests/receivers/install.sh" >/dev/null || echo "The receivers of the tests could not be unpacked" >&2
}

if [ -z "$packages" ]; then
    browser "${1:-}"
    clock "${1:-}"
    receivers "${1:-}"
    exit 0
fi

if ! command -v apt-get >/dev/null 2>&1; then
    echo "These are missing:$packages. On macOS: brew install postgresql@17 redis" >&2
    exit 1
fi
sudo=
if [ "$(id -u)" != 0 ]; then
    sudo=sudo
    [ -t 0 ] || sudo="sudo -n"
    command -v sudo >/dev/null 2>&1 || { echo "These Debian packages are missing:$packages. Install them as root." >&2; exit 1; }
fi
echo "installing Debian packages:$packages"
install() {
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null || {
        echo "apt-get could not install: $*" >&2
        exit 1
    }
}
$sudo apt-get update -qq
case "$packages" in *postgresql*)
    # Otherwise Debian's package would make and start a cluster of its own.
    install postgresql-common
    $sudo sed -i 's/^#* *create_main_cluster.*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf
    ;;
esac
# redis-server's package starts a daemon on port 6379; redis-tools holds the same program and starts none.
packages=$(echo "$packages" | sed 's/redis-server/redis-tools/')
# shellcheck disable=SC2086
install $packages
browser "${1:-}"
clock "${1:-}"
receivers "${1:-}"
