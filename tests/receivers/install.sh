#!/bin/sh
# Unpacks the receivers of the tests into a cache outside the checkout, once, and prints the folder: rsyslog and syslog-ng
# with TLS from Debian's packages, moto, which answers as S3 does, and the schemas that records are exported by. The
# packages are not installed: they would start daemons, and the two don't suffer each other. Exits 3, with the reason as
# one sentence on standard error, where there are none to be had. `install.sh syslog`, `s3` and `schemas` do a part each.
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

# is SHA256 FILE: whether it is the file that was looked at when this was written.
is() { [ "$(sha256sum "$2" | cut -d' ' -f1)" = "$1" ]; }

# OCSF as the standard's own server exports it, in a package that makes JSON Schema of it (MIT, the schema Apache 2.0), and
# the fields of ECS in Elastic's package (Apache 2.0).
schemas() {
    command -v python3 >/dev/null || fail "python3 is not installed"
    command -v npm >/dev/null || fail "npm is not installed"
    folder=$cache/schemas-$(cat "$here/schemas.txt" "$here/install.sh" | cksum | cut -d' ' -f1)
    if [ ! -e "$folder/complete" ]; then
        mkdir -p "$folder"
        python3 -m venv "$folder/python" >"$folder/pip.log" 2>&1 \
            && "$folder/python/bin/pip" install -q --disable-pip-version-check -r "$here/schemas.txt" >>"$folder/pip.log" 2>&1 \
            || fail "pip can't install the checker of OCSF ($folder/pip.log says why)"
        is 221b43d05787aa68d03233589f0eabdab192531d3e4740b856b2e0a4d6d91f82 "$(find "$folder/python" -path '*/ocsf_json_schema/ocsf/1.8.0.json')" \
            || fail "the package's schema of OCSF 1.8.0 is not the one that is pinned"
        (cd "$folder" && npm pack --silent @elastic/ecs@9.4.0) >"$folder/npm.log" 2>&1 \
            || fail "npm can't fetch the fields of ECS ($folder/npm.log says why)"
        is 1c7863cd70f9d52365570fa38a9c39f3d056511fefe4e36a51d2ad7f142ac071 "$folder/elastic-ecs-9.4.0.tgz" || fail "the package of ECS 9.4.0 is not the one that is pinned"
        tar -xzf "$folder/elastic-ecs-9.4.0.tgz" -C "$folder"
        node -e 'console.log(JSON.stringify(require(process.argv[1]).EcsFlat))' \
            "$folder/package/build/commonjs/ecs_flat.js" >"$folder/ecs.json" || fail "node can't read the fields of ECS"
        touch "$folder/complete"
    fi
    echo "$folder"
}

case "${1:-all}" in
    syslog) syslog ;;
    s3) s3 ;;
    schemas) schemas ;;
    *) syslog && s3 && schemas ;;
esac
