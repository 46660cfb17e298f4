#!/bin/sh
# Unpacks the receivers of the tests into a cache outside the checkout, once, and prints the folder: rsyslog and syslog-ng
# with TLS from Debian's packages, and moto, which answers as S3 does. The packages are not installed: they would start
# daemons, and the two don't suffer each other. Exits 3, with the reason as one sentence on standard error, where there
# are none to be had. `install.sh syslog` and `install.sh s3` do one half each.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cache=${SLUICE_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/sluice-tools}
fail() { echo "$1" >&2; exit 3; }
# Many tests ask at once; one installs.
mkdir -p "$cache"
exec 9>"$cache/receivers.lock"
! command -v flock >/dev/null || flock 9

syslog() {
    command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || fail "rsyslog and syslog-ng come from Debian's packages, and this is no Debian"
    # What they need beside the packages that every Debian has.
    packages="rsyslog rsyslog-gnutls libestr0 libfastjson4 liblognorm5 libgnutls30 syslog-ng-core libivykis0 libnet1 libwrap0 libpcre3"
    folder=$cache/syslog-$(dpkg --print-architecture)-$(. /etc/os-release && echo "$VERSION_ID")
    if [ ! -e "$folder/complete" ]; then
        work=$(mktemp -d)
        trap 'rm -rf "$work"' EXIT
        mkdir -p "$folder"
        download() { (cd "$work" && apt-get download -qq $packages >>"$folder/apt.log" 2>&1); }
        download || { [ "$(id -u)" = 0 ] && apt-get update -qq >>"$folder/apt.log" 2>&1 && download; } \
            || fail "apt-get can't download the packages ($folder/apt.log says why)"
        for package in "$work"/*.deb; do dpkg-deb -x "$package" "$folder"; done
        touch "$folder/complete"
    fi
    echo "$folder"
}

s3() {
    command -v python3 >/dev/null || fail "python3 is not installed"
    folder=$cache/s3-$(cksum <"$here/requirements.txt" | cut -d' ' -f1)
    if [ ! -e "$folder/complete" ]; then
        mkdir -p "$folder"
        python3 -m venv "$folder/python" >"$folder/pip.log" 2>&1 \
            && "$folder/python/bin/pip" install -q --disable-pip-version-check -r "$here/requirements.txt" >>"$folder/pip.log" 2>&1 \
            || fail "pip can't install moto ($folder/pip.log says why)"
        touch "$folder/complete"
    fi
    echo "$folder"
}

case "${1:-all}" in
    syslog) syslog ;;
    s3) s3 ;;
    *) syslog && s3 ;;
esac
